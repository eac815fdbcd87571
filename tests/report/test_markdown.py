from __future__ import annotations

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from moderator.comparing.model import Comparison
from moderator.report import comparison_markdown, report_markdown, words
from moderator.report.markdown import escaped
from moderator.scoring.model import Report
from tests.report.synthetic import suite

HOSTILE = "a|b `c` <script>alert(1)</script> [x](http://x.test) @all #1 *b* _i_ ~~s~~ www.x.test &lt;\nnext \u202e \ud83d \\"


def render(markdown: str) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


def test_a_report_says_verdict_targets_anchors_rules_and_flips(report: Report, comparison: Comparison) -> None:
    said = report_markdown([report], [comparison], link="report.html")
    page = render(said)
    assert words.headline(report.checks).lower() in page
    for expected in ("Held-out person", "Oracle", "P3 Prize, money or job scam", "made wrong", '<a href="report.html">'):
        assert expected in page
    assert words.said(report.metrics["f1"]) in said
    assert page.count("<table>") == 6


def test_no_text_of_any_content_is_in_it(report: Report, comparison: Comparison) -> None:
    said = report_markdown([report], [comparison]) + comparison_markdown(comparison)
    assert not [item.text for item in suite().items if item.text[:25] in said]
    assert not [term for cluster in report.clusters for term in cluster.terms if len(term) > 6 and term in said]


def test_foreign_words_are_printed_as_they_are_and_break_no_table(report: Report) -> None:
    foreign = replace(report, rules=tuple(replace(rule, title=HOSTILE, id="x|`y`") for rule in report.rules[:1]))
    foreign = replace(foreign, judged=replace(report.judged, title=HOSTILE, suite=HOSTILE))
    page = render(report_markdown([foreign]))
    assert "<script>" not in page
    assert "<a " not in page
    assert "<em>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    rows = [line for line in report_markdown([foreign]).splitlines() if line.startswith("| x")]
    assert len(rows) == 1
    assert len(MarkdownIt("commonmark").enable("table").parse(rows[0])) > 0


@pytest.mark.parametrize("text", ["https://x.test/a", "see WWW.x.test", "@everyone", "#12", "a|b"])
def test_nothing_links_or_mentions(text: str) -> None:
    assert escaped(text) != text
    assert MarkdownIt("commonmark").renderInline(escaped(text)) == text


def test_the_same_values_give_the_same_text(report: Report, comparison: Comparison) -> None:
    assert report_markdown([report], [comparison]) == report_markdown([report], [comparison])


def test_a_comparison_alone_says_what_shifted(comparison: Comparison) -> None:
    page = render(comparison_markdown(comparison))
    assert comparison.verdict in page
    assert words.shift_words(comparison) in page
    assert f"{len(comparison.flips)} flips" in page
