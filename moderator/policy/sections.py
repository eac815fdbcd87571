"""The sections of a document that are lists: definitions, precedence, notices, changelog."""

from __future__ import annotations

import re

from moderator.policy.bullets import ID, read_bullets
from moderator.policy.document import Block, Reading
from moderator.policy.model import Definition

_DEFINITION = re.compile(r"\*\*(?P<term>[^*]+)\*\*\s+\(`(?P<id>[a-z0-9]+(?:-[a-z0-9]+)*)`\)\s*:\s*(?P<text>.+)", re.DOTALL)
_DEFINITION_FORM = "- **Protected characteristic** (`protected-characteristic`): race, religion, …"
_NOTICE = re.compile(r"(?P<id>[A-Za-z0-9]+)\s*:\s*(?P<text>.+)", re.DOTALL)
_NOTICE_FORM = '- H1: "We removed your post because …"'
_CHAIN_FORM = "1. H5 > H1 > H4"
_CHANGE = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+ \([0-9]{4}-[0-9]{2}-[0-9]{2}\): .+", re.DOTALL)
_CHANGE_FORM = "- 1.0.0 (2026-11-23): first version"


def read_definitions(block: Block, reading: Reading) -> tuple[Definition, ...]:
    """The defined terms, in order; ids and terms are unique."""
    definitions: dict[str, Definition] = {}
    terms: dict[str, int] = {}
    for line in read_bullets(block.body, reading, f"## {block.title}", _DEFINITION_FORM):
        match = _DEFINITION.fullmatch(line.text)
        if match is None:
            reading.report(line.number, f"malformed definition: `{line.text[:40]}`", f"write `{_DEFINITION_FORM}`")
            continue
        term, part_id = " ".join(match["term"].split()), match["id"]
        if part_id in definitions:
            first = definitions[part_id].line
            reading.report(
                line.number, f"definition `{part_id}` is given twice", f"first given in line {first}; rename one of them"
            )
        elif term.lower() in terms:
            what = f"term `{term}` is defined twice"
            reading.report(line.number, what, f"first defined in line {terms[term.lower()]}; join the two")
        else:
            definitions[part_id] = Definition(line=line.number, id=part_id, term=term, text=match["text"].strip())
            terms[term.lower()] = line.number
    return tuple(definitions.values())


def read_precedence(block: Block, reading: Reading) -> tuple[tuple[str, ...], ...]:
    """The chains of rule ids; every id is noted as a reference."""
    chains = []
    for line in read_bullets(block.body, reading, f"## {block.title}", _CHAIN_FORM, numbered=True):
        ids = [word.strip() for word in line.text.split(">")]
        wrong = next((word for word in ids if not ID.fullmatch(word)), None)
        if wrong is not None:
            reading.report(line.number, f"`{wrong}` in `## {block.title}` is not an id", f"write `{_CHAIN_FORM}`")
        elif len(ids) < 2:
            reading.report(line.number, f"`{ids[0]}` alone is no precedence", f"write `{_CHAIN_FORM}`")
        else:
            chains.append(tuple(ids))
            for rule_id in ids:
                reading.refer(line.number, rule_id, "rule", f"`## {block.title}`")
    return tuple(chains)


def read_notices(block: Block, reading: Reading) -> dict[str, str]:
    """The notice to the user of each rule; every id is noted as a reference."""
    notices: dict[str, str] = {}
    for line in read_bullets(block.body, reading, f"## {block.title}", _NOTICE_FORM):
        match = _NOTICE.fullmatch(line.text)
        text = match["text"].strip() if match else ""
        if match is None or len(text) < 3 or text[0] not in '"“' or text[-1] not in '"”':
            reading.report(line.number, f"malformed notice: `{line.text[:40]}`", f"write `{_NOTICE_FORM}`")
        elif match["id"] in notices:
            reading.report(line.number, f"rule `{match['id']}` has two notices", "keep one")
        else:
            notices[match["id"]] = text[1:-1].replace('\\"', '"')
            reading.refer(line.number, match["id"], "rule", f"`## {block.title}`")
    return notices


def read_changelog(block: Block, reading: Reading) -> tuple[str, ...]:
    """The entries, each as it is written."""
    lines = read_bullets(block.body, reading, f"## {block.title}", _CHANGE_FORM)
    for line in lines:
        if not _CHANGE.fullmatch(line.text):
            reading.report(line.number, f"malformed entry: `{line.text[:40]}`", f"write `{_CHANGE_FORM}`")
    return tuple(line.text for line in lines)
