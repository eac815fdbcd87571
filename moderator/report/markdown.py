"""Reports as Markdown for pull requests: short, and without a word of any content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from moderator.comparing.model import Change, Comparison, Effect, Shift
from moderator.metrics import Estimate
from moderator.report import words
from moderator.report.text import visible
from moderator.scoring.model import Anchor, Check, Report, RuleScore

_HEAD: Final = ("f1", "precision", "recall", "missed", "answered")
_OF_RULE: Final = ("precision", "recall", "f1")
_OF_ANCHOR: Final = ("f1", "accuracy", "mcc")
_ESCAPED: Final = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|~&@"} | {"\n": " ", "\r": " "})
_LINKED: Final = re.compile(r"(?i)(?<=:)(?=//)|(?<=www)(?=\.)")
"""Where a backslash keeps an address from becoming a link."""
_MOST_ROWS: Final = 50


def report_markdown(reports: Sequence[Report], comparisons: Sequence[Comparison] = (), *, link: str = "") -> str:
    """Verdict, numbers, targets, anchors, rules and flips; `link`: where the whole report is."""
    left, blocks = list(comparisons), []
    for report in reports:
        of_suite = next((one for one in left if one.suite == report.judged.suite and one.policy == report.judged.policy), None)
        blocks.append("\n\n".join(_report(report)))
        if of_suite is not None:
            left.remove(of_suite)
            blocks.append("\n\n".join(_comparison(of_suite, "### Since the last run")))
    blocks += [comparison_markdown(one).rstrip("\n") for one in left]
    if link:
        blocks.append(f"[The whole report](<{_address(link)}>)")
    return "\n\n".join(blocks) + "\n"


def comparison_markdown(comparison: Comparison) -> str:
    """The verdict of a comparison, its numbers, the shifts by rule and the number of flips."""
    title = f"## {escaped(comparison.suite or comparison.policy)}: {escaped(comparison.first.name)} and "
    return "\n\n".join(_comparison(comparison, title + escaped(comparison.second.name))) + "\n"


def escaped(text: str) -> str:
    """The text as Markdown prints it literally, in a table as well: on one line, without pipes, links, mentions or HTML."""
    return _LINKED.sub("\\\\", visible(text).translate(_ESCAPED))


def _report(report: Report) -> list[str]:
    judged, counts = report.judged, report.counts
    made = judged.provenance.get("model", "unknown model")
    items = f"{words.plural(counts.judged, 'item')}, {counts.known:,} with a known label, {counts.violating:,} violating"
    blocks = [
        f"## {escaped(judged.title or judged.suite)}: {words.headline(report.checks).lower()}",
        f"{escaped(str(made))} under {escaped(str(judged.provenance.get('policy', judged.policy)))}, "
        f"suite {escaped(judged.suite)} {escaped(judged.version)}: {items}.",
        table(("number", "value"), ((words.name(metric), _said(report.metrics.get(metric))) for metric in _HEAD)),
    ]
    if report.checks:
        blocks.append(table(("target", "at least", "measured", "status"), map(_check, report.checks)))
    blocks.append(table(("anchor", *map(words.name, _OF_ANCHOR)), map(_anchor, words.anchors(report))))
    if report.rules:
        columns = ("rule", "positive", "cited", *map(words.name, _OF_RULE))
        blocks.append(table(columns, map(_rule, report.rules[:_MOST_ROWS])))
    if cautions := words.cautions(report):
        blocks.append("\n".join(f"- {escaped(caution)}" for caution in cautions))
    return blocks


def _check(check: Check) -> tuple[str, ...]:
    what = words.name(check.metric) if check.rule is None else f"{escaped(check.rule)}: {words.name(check.metric)}"
    note = words.note(check)
    status = words.STATUS[check.status] if check.status == "reached" else f"**{words.STATUS[check.status]}**"
    return what, words.number(check.least), _said(check.estimate), f"{status}{f' ({note})' if note else ''}"


def _anchor(anchor: Anchor) -> tuple[str, ...]:
    note = f" ({escaped(anchor.note)})" if anchor.note else ""
    return words.ANCHORS[anchor.name] + note, *(_said(anchor.metrics.get(metric)) for metric in _OF_ANCHOR)


def _rule(rule: RuleScore) -> tuple[str, ...]:
    numbers = (_said(rule.metrics.get(metric)) for metric in _OF_RULE)
    return f"{escaped(rule.id)} {escaped(rule.title)}", f"{rule.positive:,} of {rule.known:,}", f"{rule.cited:,}", *numbers


def _comparison(comparison: Comparison, title: str) -> list[str]:
    cover = comparison.coverage
    blocks = [
        title,
        f"**{comparison.verdict}**: {escaped(comparison.because)}. {escaped(words.shift_words(comparison))}",
        f"{words.plural(cover.joined, 'item')} compared, {cover.labelled:,} with a known label; "
        f"{len(cover.missing):,} only before, {len(cover.new):,} only now.",
    ]
    if comparison.metrics:
        rows = (
            (
                words.name(one.metric),
                words.number(one.first.value),
                words.number(one.second.value),
                _said(one.difference, signed=True),
                words.p_number(one.p_value),
                one.conclusion,
            )
            for one in comparison.metrics
        )
        blocks.append(table(("number", "before", "now", "difference", "p", "conclusion"), rows))
    shifts = [comparison.enforcement, *(shift for shift in comparison.rules if shift.lost or shift.gained)]
    blocks.append(table(("enforced", "before", "now", "lost", "gained", "p", "conclusion"), map(_shift, shifts[:_MOST_ROWS])))
    blocks.append(_flips(comparison.changes, comparison.effects, len(comparison.flips)))
    return blocks


def _shift(shift: Shift) -> tuple[str, ...]:
    what = "whole policy" if shift.rule is None else f"{escaped(shift.rule)} {escaped(shift.title)}"
    counts = (f"{n:,}" for n in (shift.before, shift.after, shift.lost, shift.gained))
    return what, *counts, words.p_number(shift.adjusted), f"**{shift.conclusion}**" if shift.shown else shift.conclusion


def _flips(changes: Mapping[Change, int], effects: Mapping[Effect, int], total: int) -> str:
    if not total:
        return "No flips."
    told = ", ".join(f"{n:,} {words.CHANGES[change]}" for change in words.CHANGES if (n := changes.get(change, 0)))
    right = f"{effects['made right']:,} made right, {effects['made wrong']:,} made wrong"
    return f"{words.plural(total, 'flip')}: {told}. Of the decisions {right}."


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _said(estimate: Estimate | None, *, signed: bool = False) -> str:
    return words.MISSING if estimate is None else words.said(estimate, signed=signed)


def _address(link: str) -> str:
    return visible(link).replace("<", "%3C").replace(">", "%3E").replace("\n", "")
