"""The page as a file: what is in it, what cannot be in it, and that hostile words stay words."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from moderator.comparing.compare import compare
from moderator.comparing.model import Comparison
from moderator.errors import DataError
from moderator.metrics import Estimate, Resampling
from moderator.report import charts, comparison_html, report_html, words
from moderator.report.parts import Threshold, script_json
from moderator.scoring import Scoring, score
from moderator.scoring.model import Anchor, Disagreement, Mark, Report
from tests.report.conftest import HOW, rules
from tests.report.synthetic import outcomes, suite

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)> \" ' & \u2028 \u202e\u200b \ud83d {{ 7 * 7 }}"


class Elements(HTMLParser):
    """The elements and attributes of a page, the words of it, and the scripts."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def page(report: Report, comparison: Comparison) -> str:
    return report_html([report], [comparison])


def hostile(report: Report) -> Report:
    """With such words wherever words of others can be."""
    case = Disagreement(
        id=HOSTILE, direction="over", text=HOSTILE, thread=(HOSTILE,), label="no", votes={HOSTILE: 2},
        rules_labelled=(HOSTILE,), outcome=HOSTILE, rules=(HOSTILE,), score=None, confidence=0.9,
        evidence=(Mark(3, 30, HOSTILE),), marked=(Mark(0, 9, None),), rationale=HOSTILE,
    )  # fmt: skip
    judged = replace(
        report.judged, suite=HOSTILE, title=HOSTILE, version=HOSTILE, policy=HOSTILE, digest=HOSTILE,
        provenance={"model": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}},
        run={"arguments": [HOSTILE], "machines": [{HOSTILE: HOSTILE}]},
    )  # fmt: skip
    return replace(
        report,
        judged=judged,
        rules=tuple(replace(rule, id=HOSTILE, title=HOSTILE) for rule in report.rules),
        slices=tuple(replace(one, key=HOSTILE, value=HOSTILE) for one in report.slices),
        anchors=tuple(replace(one, note=HOSTILE) for one in report.anchors),
        clusters=tuple(replace(one, terms=(HOSTILE,), ids=(HOSTILE,)) for one in report.clusters),
        disagreements=(case,),
    )


def test_it_asks_nothing_of_any_network(page: str) -> None:
    elements = Elements(page)
    loading = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping", "xlink:href"}
    assert not [found for found in elements.found if loading & found[1].keys()]
    assert [link["href"] for link in elements.of("link")] == ["data:,"]
    assert all((link["href"] or "").startswith("#") for link in elements.of("a"))
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert not re.search(r"url\(|@import|@font-face|https?:", style)


def test_only_its_own_style_and_script_are_allowed(page: str) -> None:
    """By hash; no attribute brings a style or a handler, which the policy would refuse."""
    elements = Elements(page)
    (policy,) = [meta["content"] or "" for meta in elements.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert f"{tag}-src 'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy
    assert not [found for found in elements.found if any(name == "style" or name.startswith("on") for name in found[1])]


def test_the_same_values_give_the_same_bytes(page: str, report: Report, comparison: Comparison) -> None:
    assert report_html([report], [comparison]) == page


def test_hostile_words_stay_words(report: Report, comparison: Comparison) -> None:
    flips = tuple(replace(flip, id=HOSTILE, text=HOSTILE) for flip in comparison.flips[:3])
    sides = replace(comparison.first, name=HOSTILE), replace(comparison.second, name=HOSTILE)
    changed = replace(
        comparison,
        flips=flips,
        first=sides[0],
        second=sides[1],
        differs=(HOSTILE,),
        because=HOSTILE,
        suite=HOSTILE,
        policy=HOSTILE,
    )
    page = report_html([hostile(report)], [changed])
    elements = Elements(page)
    assert [attributes.get("type") for attributes in elements.of("script")] == ["application/json", None]
    assert not elements.of("img")
    assert not [found for found in elements.found if any(name.startswith("on") for name in found[1])]
    assert not set("\u202e\u200b\u2028\ud83d") & set(page)
    assert elements.text.count("alert('x')") > 30
    assert "⟨U+202E⟩" in elements.text
    assert "{{ 7 * 7 }}" in elements.text
    page.encode()


def test_hostile_words_in_a_chart_stay_words() -> None:
    anchor = Anchor("model", HOSTILE, {"f1": Estimate(0.5, 0.4, 0.6, 100, "bootstrap")})
    drawn = charts.anchors([anchor], {"model": HOSTILE.replace("\ud83d", "")}, "f1", "<F1>", 0.5)
    elements = Elements(drawn)
    assert {tag for tag, _ in elements.found} <= {"svg", "g", "path", "rect", "line", "text"}


def test_json_in_the_page_cannot_end_its_element() -> None:
    value = {"</script><!--": ["\u2028", "&amp;", "é"]}
    said = script_json(value)
    assert not set("<>&\u2028") & set(said)
    assert json.loads(said) == value


def test_without_texts_no_word_of_any_content_is_in_it(page: str, report: Report, comparison: Comparison) -> None:
    bare = report_html([report], [comparison], texts=False)
    texts = {item.text for item in suite().items}
    shown = [text for text in texts if text in unescape(re.sub("<[^>]*>", "", page))]
    assert len(shown) > 20
    plain = unescape(re.sub("<[^>]*>", "", bare))
    assert not [text for text in texts if text in plain]
    assert 'class="reveal"' not in bare
    assert 'class="reveal"' in page


def test_everything_of_the_report_is_there(page: str, report: Report) -> None:
    text = re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", "", page)))
    for metric in ("f1", "precision", "recall", "missed", "auroc", "mcc"):
        assert f"{words.number(report.metrics[metric].value)} {words.interval(report.metrics[metric])}" in text
    for rule in report.rules:
        assert f"{rule.id} {rule.title}" in text
        assert words.interval(rule.metrics["recall"]) in text
    for name in words.ANCHORS.values():
        assert name in text
    for expected in (
        "Dawid–Skene",
        "alternative annotator test",
        "quadratic kappa",
        "CC0-1.0",
        report.judged.digest,
        "inconclusive",
    ):
        assert expected in text
    ids = {attributes["id"] for _, attributes in Elements(page).found if attributes.get("id")}
    assert {(link["href"] or "")[1:] for link in Elements(page).of("a")} <= ids


def test_ids_are_used_once_with_several_suites(report: Report, comparison: Comparison) -> None:
    other = replace(report, judged=replace(report.judged, suite="other", title="Other posts"))
    page = report_html([report, other], [comparison])
    elements = Elements(page)
    ids = [attributes["id"] for _, attributes in elements.found if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert "2 suites" in elements.text
    assert elements.text.count("Other posts") >= 3
    assert {(link["href"] or "")[1:] for link in elements.of("a")} <= set(ids)


def test_what_is_undefined_is_told_and_breaks_nothing(report: Report) -> None:
    none = Estimate(None, None, None, 0, "none")
    bare = replace(
        report,
        metrics=dict.fromkeys(report.metrics, none),
        rules=(replace(report.rules[0], metrics=dict.fromkeys(report.rules[0].metrics, none)),),
        severities=(), slices=(), agreement=(), evidence=None, calibration=None, thresholds=(), prevalence=None, checks=(),
        clusters=(), disagreements=(), native_floor=None, citations=none, severity=none,
        anchors=tuple(replace(anchor, metrics={}, paired=()) for anchor in report.anchors),
        selective=replace(report.selective, aurc=none, augrc=none, curve=(), at_risk={"0.01": None}),
    )  # fmt: skip
    text = Elements(report_html([bare])).text
    assert "None" not in text.replace("None.", "")
    assert not re.search(r"\bnan\b|\binf\b|undefined\(", text, re.IGNORECASE)
    for expected in ("No targets set", "n/a", "The engine gave no scores", "No last run was given", "The suite has no slices"):
        assert expected in text


def test_a_comparison_stands_alone(comparison: Comparison) -> None:
    text = Elements(comparison_html(comparison)).text
    for expected in (comparison.verdict.capitalize(), comparison.because, words.shift_words(comparison), "made wrong"):
        assert expected in text
    same = replace(comparison, flips=(), metrics=(), slices=())
    assert "Identical outcomes" in Elements(comparison_html(same)).text


def test_comparisons_go_to_their_suites(report: Report, comparison: Comparison) -> None:
    elsewhere = replace(comparison, suite=None)
    page = report_html([report], [elsewhere])
    assert "No last run was given" in page
    assert 'id="s2-difference"' in page


def test_the_slider_starts_with_the_numbers_of_the_metrics(report: Report) -> None:
    threshold = Threshold(report.thresholds, HOW)
    assert threshold.at.threshold >= 0.5
    assert threshold.n == sum(report.table.counts[row][column] for row in (0, 1) for column in range(3))
    at, told = threshold.at, dict(threshold.estimates)
    assert told["precision"].value == at.true_positives / (at.true_positives + at.false_positives)
    assert told["recall"].value == at.true_positives / (at.true_positives + at.false_negatives)
    assert all(estimate.method == "wilson" for estimate in told.values())


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to show"):
        report_html([])


def test_a_missing_extra_names_the_line_that_installs_it(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'moderator\[report\]'"):
        report_html([report])


@pytest.mark.slow
def test_a_suite_of_four_thousand_items_stays_under_two_megabytes() -> None:
    large = suite(4_000)
    quick = Resampling(resamples=50, index_resamples=10)
    after, before = outcomes(large, skill=0.5), outcomes(large, skill=0.4, seed=9)
    texts = {item.id: item.text * 40 for item in large.items}
    page = report_html(
        [score(large, after, rules(), Scoring(how=quick))],
        [compare(large, before, after, rules=rules(), how=quick, texts=texts)],
    )
    assert len(page.encode()) < 2_000_000
