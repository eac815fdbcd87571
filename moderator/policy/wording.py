"""Checks of how a document says it, on its lines: terms, hedge words, instructions to the model, ids in prose."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from moderator.policy.document import Block, Document, Line, nearest
from moderator.policy.findings import Finding
from moderator.policy.model import Definition

_JUDGED = ("Scope", "Definitions", "Rules", "Exceptions", "Escalation")
"""Sections whose words decide; a hedge in the rationale harms nobody."""
_SHOWN = ("Rationale", *_JUDGED)
"""Sections that may reach the model."""

_QUOTED = re.compile(r'"[^"]*"|“[^“”]*”|`[^`]*`')
_EMPHASIS = re.compile(r"(?<![*\w\\])\*(?![*\s])([^*]+?)(?<![\s\\])\*(?!\*)")
_ID = re.compile(r"\b[A-Z]{1,4}[1-9][0-9]{0,3}\b")
_HEDGES = (
    *("generally", "usually", "typically", "normally", "often", "mostly", "frequently", "sometimes", "occasionally"),
    *("in general", "in most cases", "in many cases", "in some cases", "for the most part", "more or less", "as a rule"),
    *("perhaps", "possibly", "probably", "presumably", "somewhat", "as appropriate", "where appropriate", "if appropriate"),
    *("when appropriate", "may be considered", "might be considered", "could be considered", "can be considered"),
    *("use your judgement", "use your judgment", "at your discretion", "and so on", "and the like", "etc."),
)
_HEDGE = re.compile(
    "|".join(rf"\b{re.escape(hedge).replace(chr(92) + ' ', chr(92) + 's+')}(?!\\w)" for hedge in _HEDGES), re.IGNORECASE
)
_START = r"(?:^|[.:;!?]\s+|\b(?:must|should|always|only|please|then|you|model|shall)\s+)"
_INSTRUCTION = re.compile(
    rf"{_START}(?:answer|respond|reply)\s+(?:with|only|in|as|exactly|by)\b"
    rf"|{_START}(?:output|return|print|emit)\s+(?:with|only|in|as|exactly|a|an|the|one|your|json|valid|yes|no|\S*label)\b"
    r"|(?:^\s*(?:[-*]\s+)?|[.;!?]\s+)output\s*:"
    r"|\b(?:output|answer|response|label)\s+format\b"
    r"|\b(?:in|as|valid|a)\s+json\b|\bjson\s+(?:object|only|format|schema)\b"
    r"|\bthink\s+step\s+by\s+step\b"
    r"|\bdo\s+not\s+(?:explain|add|write|output|include)\s+(?:your|any(?:thing)?\s+(?:else|other|text|explanation))",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines without a blank one between them, as one text: a phrase may run over a line end."""

    section: str
    line: int
    text: str

    def line_at(self, offset: int) -> int:
        """The line of a place in the text."""
        return self.line + self.text.count("\n", 0, offset)


def check_wording(
    file: str, document: Document, own: Sequence[Definition], terms: Sequence[str] | None, ids: Collection[str] | None
) -> Iterator[Finding]:
    """All checks of wording. `own`: definitions of this document; `terms` and `ids`: all that it may name, None: not known."""
    shown = list(_passages(document, _SHOWN))
    judged = [passage for passage in shown if passage.section in _JUDGED]
    if terms is not None:
        yield from _undefined_terms(file, shown, terms)
    yield from _unused_definitions(file, shown, own)
    yield from _hedges(file, judged)
    yield from _instructions(file, shown)
    if ids is not None:
        yield from _dangling_ids(file, shown, ids)


def shown_text(document: Document) -> str:
    """What of the document may reach the model, for an estimate of its length."""
    return "\n\n".join(passage.text for passage in _passages(document, _SHOWN, titles=True))


def folded(term: str) -> str:
    """A term as it is compared: without case, white space and a plural s."""
    plain = " ".join(term.split()).casefold()
    return plain[:-1] if plain.endswith("s") and not plain.endswith("ss") else plain


def _undefined_terms(file: str, passages: Sequence[Passage], terms: Sequence[str]) -> Iterator[Finding]:
    known = {folded(term) for term in terms}
    for passage in passages:
        for match in _EMPHASIS.finditer(_hidden(passage.text)):
            if folded(match[1]) not in known:
                term = " ".join(match[1].split())
                what = f"the term `{term}` is not defined{nearest(term, terms)}"
                hint = f"add `- **{term.capitalize()}** (`{_slug(term)}`): …` to `## Definitions`, or emphasise with `**`"
                yield Finding(file, passage.line_at(match.start()), "P101", what, hint)


def _unused_definitions(file: str, passages: Sequence[Passage], own: Sequence[Definition]) -> Iterator[Finding]:
    for definition in own:
        elsewhere = (passage.text for passage in passages if passage.section != "Definitions")
        others = (d.text for d in own if d.id != definition.id)
        used = re.compile(rf"\b{re.escape(folded(definition.term))}(?:e?s)?\b".replace(r"\ ", r"\s+"), re.IGNORECASE)
        if not any(used.search(text.casefold()) for text in (*elsewhere, *others)):
            what = f"the term `{definition.term}` is defined and never used"
            yield Finding(
                file, definition.line, "P102", what, f"write `*{definition.term.lower()}*` where it is meant, or delete it"
            )


def _hedges(file: str, passages: Sequence[Passage]) -> Iterator[Finding]:
    for passage in passages:
        for match in _HEDGE.finditer(_hidden(passage.text)):
            word = " ".join(match[0].split())
            hint = "say when it holds and when it does not; put the rest under `#### Borderline`"
            yield Finding(file, passage.line_at(match.start()), "P103", f"hedge word `{word}`", hint)


def _instructions(file: str, passages: Sequence[Passage]) -> Iterator[Finding]:
    for passage in passages:
        for match in _INSTRUCTION.finditer(_hidden(passage.text)):
            phrase = " ".join(match[0].split()).lstrip(".:;!? ")
            hint = "delete it: the form of the answer is compiled in, and the two would contradict each other"
            yield Finding(file, passage.line_at(match.start()), "P104", f"instruction to the model: `{phrase}`", hint)


def _dangling_ids(file: str, passages: Sequence[Passage], ids: Collection[str]) -> Iterator[Finding]:
    """Words that look like one of the policy's own ids; `H2O` or `E10` in a policy with other letters are left alone."""
    letters = {part_id.rstrip("0123456789") for part_id in ids}
    for passage in passages:
        for match in _ID.finditer(_hidden(passage.text)):
            if match[0] not in ids and match[0].rstrip("0123456789") in letters:
                hint = f"ids are {', '.join(sorted(ids))}"
                yield Finding(file, passage.line_at(match.start()), "P105", f"`{match[0]}` is not defined", hint)


def _passages(document: Document, sections: Sequence[str], *, titles: bool = False) -> Iterator[Passage]:
    for block in _flat(document.blocks):
        if block.level == 2 and block.title in sections:
            for inner in _flat((block,)):
                yield from _runs(block.title, inner, titles)


def _runs(section: str, block: Block, titles: bool) -> Iterator[Passage]:
    """The runs of lines of one block. Keyed bullets belong to the text: `Requires` and `When` are prose."""
    heading = (Line(block.line, block.title),) if titles else ()
    run: list[Line] = []
    for line in (*heading, *block.body, Line(0, "")):
        if line.text.strip() and (not run or line.number == run[-1].number + 1):
            run.append(line)
            continue
        if run:
            yield Passage(section, run[0].number, "\n".join(part.text for part in run))
        run = [line] if line.text.strip() else []


def _flat(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        yield from _flat(block.blocks)


def _hidden(text: str) -> str:
    """The text with what is quoted blanked out: quoted words are content, not policy."""
    return _QUOTED.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def _slug(term: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")
