"""The page in a real browser: headless Chromium, which may ask nothing of any network.

Skipped where there is no Chromium; with ``CI_BROWSER=1`` (.ci/run) its absence is a failure. ``CHROMIUM`` names another one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from moderator.comparing.model import Comparison
from moderator.metrics import Estimate, Resampling, proportion_estimate
from moderator.report import report_html
from moderator.report.parts import Threshold
from moderator.report.words import interval, number
from moderator.scoring.model import Report
from tests.report.test_page import hostile

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: dev)")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI_BROWSER"), reason="no Chromium on this machine"),
]


@dataclass
class Opened:
    """A page, and everything that it asked for or complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    assert CHROMIUM, "CI_BROWSER is set and there is no Chromium: apt-get install chromium"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(report: Report, comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_html([report], [comparison]), encoding="utf-8")
    return path


def opened(chromium: Any, file: Path, width: int = 1280, **options: Any) -> Opened:
    context = chromium.new_context(viewport={"width": width, "height": 860}, **options)
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(file.as_uri())
    return found


def test_it_opens_without_a_request_or_a_complaint(chromium: Any, file: Path) -> None:
    found = opened(chromium, file, offline=True)
    found.page.wait_for_load_state("networkidle")
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [file.as_uri()]
    assert found.page.locator("svg.chart").count() == 4


def test_the_policy_of_the_page_stops_what_is_not_its_own(chromium: Any, report: Report, tmp_path: Path) -> None:
    """Were an element to slip through the escaping, it would neither run nor load."""
    page = report_html([report]).replace(
        '<main id="main">',
        "<main id=main><script>window.bad = 1</script><img src='https://example.org/x.png' onerror='window.bad = 1'>",
    )
    file = tmp_path / "bad.html"
    file.write_text(page, encoding="utf-8")
    found = opened(chromium, file)
    assert found.page.evaluate("window.bad") is None
    found.page.wait_for_load_state("networkidle")
    for directive in ("img-src data:", "script-src 'sha256-"):
        assert [said for said in found.complaints if "Content Security Policy" in said and directive in said], directive


def test_the_slider_counts_rightly(chromium: Any, file: Path, report: Report) -> None:
    page = opened(chromium, file).page
    slider = page.locator("input[type=range]")
    how = Resampling()
    for place in {0, 1, len(report.thresholds) // 3, 2 * len(report.thresholds) // 3, len(report.thresholds) - 1}:
        slider.fill(str(place))
        point = report.thresholds[place]
        hits, alarms, misses = point.true_positives, point.false_positives, point.false_negatives
        all_of = hits + alarms + misses + point.true_negatives
        jaccard = proportion_estimate(hits, hits + alarms + misses, how)
        expected = {
            "precision": proportion_estimate(hits, hits + alarms, how),
            "recall": proportion_estimate(hits, hits + misses, how),
            "false_positive_rate": proportion_estimate(alarms, alarms + point.true_negatives, how),
            "flagged": proportion_estimate(hits + alarms, all_of, how),
            "f1": replace(jaccard, value=f1(jaccard.value), low=f1(jaccard.low), high=f1(jaccard.high)),
        }
        for name, estimate in expected.items():
            assert page.locator(f"[data-out={name}] b").text_content() == number(estimate.value), (place, name)
            assert page.locator(f"[data-out={name}-interval]").text_content() == interval(estimate), (place, name)
        assert page.locator("[data-out=misses]").text_content() == f"{misses:,}"


def f1(jaccard: float | None) -> float | None:
    return None if jaccard is None else 2 * jaccard / (1 + jaccard)


def test_what_the_slider_shows_at_first_is_what_was_written(chromium: Any, file: Path, report: Report) -> None:
    """Without a script the page says the same."""
    ends = []
    for javascript in (True, False):
        page = opened(chromium, file, java_script_enabled=javascript).page
        ends.append(page.locator(".live").inner_text())
    assert ends[0] == ends[1]
    told = dict(Threshold(report.thresholds, Resampling()).estimates)
    assert interval(told["recall"]) in ends[0]


def test_the_slider_moves_by_keyboard(chromium: Any, file: Path) -> None:
    page = opened(chromium, file).page
    slider = page.locator("input[type=range]")
    slider.focus()
    before = page.locator("output.at").text_content()
    page.keyboard.press("ArrowRight")
    assert page.locator("output.at").text_content() != before
    assert slider.get_attribute("aria-valuetext") == page.locator("output.at").text_content()
    page.keyboard.press("Home")
    assert slider.input_value() == "0"


def blurred(page: Any, post: Any) -> bool:
    text = post.locator(".text").first
    blur = text.evaluate("element => getComputedStyle(element).filter")
    hidden = text.get_attribute("aria-hidden") == "true"
    assert hidden == (blur != "none")
    return bool(hidden)


def test_texts_are_blurred_until_asked_for_by_mouse_or_keyboard(chromium: Any, file: Path) -> None:
    page = opened(chromium, file).page
    cases = page.locator("article.case.post")
    first, second = cases.nth(0), cases.nth(1)
    assert all(blurred(page, cases.nth(place)) for place in range(cases.count()))
    first.locator("button.reveal").click()
    assert not blurred(page, first)
    assert blurred(page, second)
    button = second.locator("button.reveal")
    button.focus()
    page.keyboard.press("Enter")
    assert not blurred(page, second)
    assert button.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Space")
    assert blurred(page, second)


def test_all_texts_of_a_section_are_shown_and_hidden_at_once(chromium: Any, file: Path) -> None:
    page = opened(chromium, file).page
    section = page.locator("section", has=page.locator("article.case")).last
    others = page.locator(".post:not(.shown)").count()
    within = section.locator(".post").count()
    assert within
    section.locator("button.reveal-all").click()
    assert section.locator(".post.shown").count() == within
    assert page.locator(".post:not(.shown)").count() == others - within
    section.locator("button.reveal-all").click()
    assert page.locator(".post.shown").count() == 0


def test_without_a_script_texts_stay_blurred(chromium: Any, file: Path) -> None:
    page = opened(chromium, file, java_script_enabled=False).page
    assert blurred(page, page.locator("article.case.post").first)


def test_a_table_sorts_by_number_with_the_undefined_last(chromium: Any, file: Path, report: Report) -> None:
    page = opened(chromium, file).page
    table = page.get_by_role("region", name="Rules").locator("table")
    heading = table.locator("thead th", has_text="Cited")
    counts = sorted((rule.cited for rule in report.rules), reverse=True)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert [int(text) for text in table.locator("tbody td:nth-child(4)").all_text_contents()] == counts
    heading.locator("button").press("Enter")
    assert [int(text) for text in table.locator("tbody td:nth-child(4)").all_text_contents()] == counts[::-1]


def test_a_text_stays_below_its_flip_when_flips_are_sorted(chromium: Any, file: Path, comparison: Comparison) -> None:
    page = opened(chromium, file).page
    texts = {flip.id: flip.text for flip in comparison.flips}
    table = page.locator("table", has=page.locator("tr.flip")).first
    table.locator("thead th", has_text="Score").locator("button").click()
    rows = table.locator("tbody tr")
    said = rows.evaluate_all("rows => rows.map(row => [row.className, row.querySelector('th, .text').textContent])")
    assert len(said) == 40
    for (kind, id), (more, text) in zip(said[::2], said[1::2], strict=True):
        assert (kind, more) == ("flip", "more post")
        assert texts[id] == text


def test_hostile_words_neither_run_nor_load(chromium: Any, report: Report, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(report_html([hostile(report)]), encoding="utf-8")
    found = opened(chromium, file)
    dialogs: list[str] = []
    found.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    found.page.locator("button.reveal-all").last.click()
    found.page.locator("input[type=range]").fill("3")
    assert found.complaints == []
    assert dialogs == []
    assert [url for url in found.requests if not url.startswith("data:")] == [file.as_uri()]
    assert "alert('x')" in found.page.locator("article.case .text").first.inner_text()


@pytest.mark.parametrize(("scheme", "light"), [("light", True), ("dark", False)])
def test_it_follows_the_reader_in_light_and_dark_with_contrast_enough(
    chromium: Any, file: Path, scheme: str, light: bool
) -> None:
    page = opened(chromium, file, color_scheme=scheme).page
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper > 0.5) == light
    for selector in ("body", ".how", ".ci", ".few b", ".n", "a", "nav li a", ".status", "svg.chart text"):
        colour = "fill" if selector.endswith("text") else "color"
        ink = luminance(page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{colour}"))
        bright, dark = max(ink, paper), min(ink, paper)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Relative, after WCAG 2."""
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("width", [400, 820, 1280])
def test_nothing_sticks_out_at_any_width(chromium: Any, file: Path, width: int) -> None:
    """Wide tables scroll on their own; the page does not."""
    page = opened(chromium, file, width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.locator("svg.chart").evaluate_all(
            "charts => Math.max(...charts.map(chart => chart.getBoundingClientRect().right))"
        )
        <= width
    )


def test_print_hides_what_was_not_asked_for_and_cuts_nothing(chromium: Any, file: Path, report: Report, tmp_path: Path) -> None:
    page = opened(chromium, file).page
    shown, hidden = report.disagreements[0], report.disagreements[1]
    page.locator("article.case.post").first.locator("button.reveal").click()
    page.set_viewport_size({"width": 695, "height": 1000})  # A4 less its margins, in CSS pixels
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 696
    wide = page.locator(".scroll").evaluate_all(
        "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.ariaLabel)"
    )
    assert wide == []
    assert page.locator("figure").evaluate_all("found => found.every(one => getComputedStyle(one).breakInside === 'avoid')")
    assert not page.locator("button").evaluate_all(
        "found => found.some(one => !one.closest('th') && one.offsetParent !== null)"
    )
    pdf = tmp_path / "report.pdf"
    page.pdf(path=pdf, prefer_css_page_size=True)
    assert pdf.stat().st_size > 20_000
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
        said = " ".join(text.split())
        assert shown.text in said
        assert hidden.text not in said
        assert "text hidden" in said


def test_estimates_are_drawn_where_they_lie(chromium: Any, file: Path, report: Report) -> None:
    page = opened(chromium, file).page
    drawn = page.locator(".key .whisker").first
    value: Estimate = report.metrics["f1"]
    assert value.value is not None
    place = float(drawn.locator(".value").get_attribute("x1"))
    assert place == pytest.approx(4 + 92 * value.value, abs=0.01)
    least = float(drawn.locator(".least").get_attribute("x1"))
    assert least == pytest.approx(4 + 92 * 0.7, abs=0.01)
