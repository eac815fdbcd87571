"""The HTML page: one file with everything in it, which asks nothing of any network and runs nothing but its own script."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from moderator.comparing.model import Comparison
from moderator.metrics import Estimate, RiskPoint, wilson
from moderator.policy.model import SEVERITIES
from moderator.report import charts, words
from moderator.report.parts import level, parts
from moderator.report.text import pieces, visible
from moderator.scoring.model import Report, Table, without_texts

FIRST_CASES: Final = 6
MOST_CASES: Final = 30
"""Of each direction."""
FIRST_FLIPS: Final = 20
MOST_FLIPS: Final = 200

MOST_ROWS: Final = 300
MOST_CHARACTERS: Final = 4_000
MOST_TURNS: Final = 5

_DIRECTIONS: Final = {"over": "flagged; people would not", "under": "cleared; people would flag"}
_ANSWERS: Final = {"yes": "violates", "no": "does not", "review": "to a person", "failure": "failure"}
_LABELS: Final = {"yes": "violates", "no": "does not violate"}
_WORDS: Final = (
    words.name, words.number, words.percent, words.interval, words.said, words.p_value, words.p_number, words.plural,
    words.outcome, words.headline, words.note, words.unmet, words.against, words.difference, words.shift_words,
)  # fmt: skip


def report_html(reports: Sequence[Report], comparisons: Sequence[Comparison] = (), *, texts: bool = True) -> str:
    """One self-contained page: a part for each suite, and in it the comparison of that suite with the last run.

    The same values give the same bytes. Without `texts` no content, no rationale and no flip's text is in it, nor the words of
    clusters. Raises `DataError` when the extra ``report`` is not installed, and `ValueError` for nothing to show.
    """
    charts.require()
    if not texts:
        reports = [without_texts(report) for report in reports]
        comparisons = [_without_texts(comparison) for comparison in comparisons]
    found = parts(reports, comparisons)
    if not found:
        raise ValueError("no report and no comparison: there is nothing to show")
    style, script = Markup(_asset("report.css")), Markup(_asset("report.js"))
    page = _environment().get_template("page.html.jinja")
    return page.render(
        parts=found,
        title=found[0].title if len(found) == 1 else f"{len(reports) or len(found)} suites" if reports else "Comparisons",
        texts=texts,
        level=level(reports[0]) if reports else None,
        style=style,
        script=script,
        csp="; ".join(
            (
                "default-src 'none'",
                f"style-src '{_hash(style)}'",
                f"script-src '{_hash(script)}'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )


def comparison_html(comparison: Comparison, *, texts: bool = True) -> str:
    """The same page for a comparison alone."""
    return report_html((), (comparison,), texts=texts)


def _without_texts(comparison: Comparison) -> Comparison:
    return replace(comparison, flips=tuple(replace(flip, text=None) for flip in comparison.flips))


@cache
def _asset(name: str) -> str:
    return files("moderator.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(content.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    """Everything that is printed is escaped, and can be seen."""
    environment = Environment(
        loader=PackageLoader("moderator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {function.__name__: function for function in (*_WORDS, pieces)}
    environment.globals |= _GLOBALS
    return environment


def _printed(value: Any) -> Any:
    if value is None:
        return words.MISSING
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _place(value: float, low: float, high: float) -> float:
    """Where a value stands on a scale that is drawn from 4 to 96; at its end where it lies beyond."""
    return round(4 + 92 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def _more(n: int, thing: str) -> Markup:
    return Markup("") if n <= MOST_ROWS else Markup("<p>And {} more.</p>").format(words.plural(n - MOST_ROWS, thing))


def _risk_interval(point: RiskPoint) -> str:
    low, high = wilson(round(point.risk * point.n), point.n)
    return f"[{words.percent(low)}, {words.percent(high)}]"


_WORD_FOR_WORD: Final = "quotes that stand in the text word for word"


def _evidence_rows(report: Report) -> list[tuple[str, Estimate]]:
    evidence = report.evidence
    if evidence is None:
        return [(_WORD_FOR_WORD, report.quotes)]
    rows = {
        _WORD_FOR_WORD: report.quotes,
        "against all that anyone marked": evidence.union,
        "against what most marked": evidence.majority,
        "against each annotator": evidence.each,
        "spans that overlap by half (IOU F1)": evidence.iou_f1,
        "people among themselves": evidence.people,
        "a held-out person, against the majority of the others": evidence.held_out_human,
        "the model, against the same majorities": evidence.held_out_model,
    }
    return [(label, estimate) for label, estimate in rows.items() if estimate is not None]


def _transition_columns(table: Table) -> list[tuple[str, bool, str]]:
    return [("", False, ""), *((column.replace("_", " "), True, "") for column in table.columns)]


_GLOBALS: Final[Mapping[str, Any]] = {
    "place": _place,
    "more": _more,
    "risk_interval": _risk_interval,
    "evidence_rows": _evidence_rows,
    "transition_columns": _transition_columns,
    "meanings": words.MEANINGS,
    "missing": words.MISSING,
    "anchor_names": words.ANCHORS,
    "status_words": words.STATUS,
    "changes": words.CHANGES,
    "severities": SEVERITIES,
    "directions": _DIRECTIONS,
    "answer_names": _ANSWERS,
    "label_names": _LABELS,
    "first_cases": FIRST_CASES,
    "most_cases": MOST_CASES,
    "first_flips": FIRST_FLIPS,
    "most_flips": MOST_FLIPS,
    "most_rows": MOST_ROWS,
    "most_characters": MOST_CHARACTERS,
    "most_turns": MOST_TURNS,
}
