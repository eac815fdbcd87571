"""Charts as inline SVG: drawn by Vega-Lite when the report is written, so that the page needs no script and prints as it looks.

Colours are those of the page, light or dark: a chart names stand-ins, which become the style sheet's variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from moderator.errors import DataError
from moderator.metrics import ReliabilityBin, RiskPoint
from moderator.scoring.model import Anchor, ThresholdPoint

if TYPE_CHECKING:
    import altair as alt

_COLOURS: Final[Mapping[str, str]] = {
    "#a00001": "var(--accent)",
    "#a00002": "var(--ink)",
    "#a00003": "var(--muted)",
    "#a00004": "var(--line)",
    "#a00005": "var(--paper)",
}
_ACCENT, _INK, _MUTED, _LINE, _PAPER = _COLOURS
_BY_ITSELF: Final = {
    "var(--accent)": "#0b5cad",
    "var(--ink)": "#1a1a1a",
    "var(--muted)": "#6b6b6b",
    "var(--line)": "#dddddd",
    "var(--paper)": "#ffffff",
}
"""What stands for the page's variables where there is no page."""
_FONT: Final = "system-ui, sans-serif"

WIDTH: Final = 284
HEIGHT: Final = 230
LEFT: Final = 54
RIGHT: Final = 14
TOP: Final = 12
_BOTTOM: Final = 42
_NAMES: Final = 96
_ROW: Final = 26

Row = dict[str, Any]


def anchors(found: Sequence[Anchor], names: Mapping[str, str], metric: str, title: str, target: float | None) -> Markup:
    """Value and interval of each, one below the other on one scale; a dashed line at the target."""
    import altair as alt

    rows: list[Row] = [
        {
            "name": names.get(one.name, one.name),
            "value": of.value,
            "low": of.low,
            "high": of.high,
            "model": one.name == "model",
        }
        for one in found
        if (of := one.metrics.get(metric)) is not None and of.value is not None
    ]
    y = alt.Y(
        "name:N",
        sort=None,
        title=None,
        axis=alt.Axis(domain=False, ticks=False, labelLimit=_NAMES, labelFontSize=10.5, labelPadding=10),
    )
    x = alt.X("value:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5, format=".1f"))
    colour = alt.condition("datum.model", alt.value(_ACCENT), alt.value(_MUTED))
    data = alt.Data(values=rows)
    spans = alt.Data(values=[row for row in rows if row["low"] is not None])
    layers: list[alt.Chart] = [
        alt.Chart(spans).mark_rule(strokeWidth=3).encode(y=y, x=alt.X("low:Q", title=title), x2="high:Q", color=colour),
        alt.Chart(data).mark_point(size=70, filled=True, opacity=1).encode(y=y, x=x, color=colour),
    ]
    if target is not None:
        line = alt.Chart(alt.Data(values=[{"value": target}]))
        layers.insert(0, line.mark_rule(strokeDash=[4, 3], color=_INK).encode(x=x))
    described = "; ".join(f"{row['name']} {row['value']:.3f}" for row in rows)
    return _svg(alt.layer(*layers), f"{title}. {described}", (236, _ROW * max(1, len(rows))), left=_NAMES + 12)


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """The share of violations in each bin of scores, with its interval, beside the diagonal that a calibrated score follows."""
    import altair as alt

    rows = [{"score": one.score, "rate": one.rate.value, "low": one.rate.low, "high": one.rate.high} for one in bins]
    x, y = _share("score:Q", "score"), _share("rate:Q", "share that violates")
    diagonal = alt.Chart(alt.Data(values=[{"score": 0, "rate": 0}, {"score": 1, "rate": 1}]))
    chart = alt.Chart(alt.Data(values=rows))
    layered = alt.layer(
        diagonal.mark_line(color=_MUTED, strokeDash=[4, 3], strokeWidth=1).encode(x=x, y=y),
        chart.mark_rule(color=_ACCENT, strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        chart.mark_point(color=_ACCENT, filled=True, size=45, opacity=1).encode(x=x, y=y),
    )
    described = "; ".join(f"score {row['score']:.2f}: {row['rate']:.2f}" for row in rows if row["rate"] is not None)
    return _svg(layered, f"Share of violations by score. {described}")


def recalibration(before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin]) -> Markup:
    """Two reliability curves in one: hollow before a recalibration, filled behind it."""
    import altair as alt

    x, y = _share("score:Q", "score"), _share("rate:Q", "share that violates")
    diagonal = alt.Chart(alt.Data(values=[{"score": 0, "rate": 0}, {"score": 1, "rate": 1}]))
    layers = [diagonal.mark_line(color=_MUTED, strokeDash=[4, 3], strokeWidth=1).encode(x=x, y=y)]
    for bins, colour, filled in ((before, _MUTED, False), (after, _ACCENT, True)):
        rows = [{"score": one.score, "rate": one.rate.value, "low": one.rate.low, "high": one.rate.high} for one in bins]
        chart = alt.Chart(alt.Data(values=rows))
        layers.append(chart.mark_rule(color=colour, strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"))
        layers.append(chart.mark_point(color=colour, filled=filled, size=45, opacity=1).encode(x=x, y=y))
    return _svg(alt.layer(*layers), "Share of violations by score, before recalibration (hollow) and behind it (filled).")


def write(chart: Markup, path: Path) -> None:
    """Writes a chart by itself, in light colours: .svg or .png. Raises `DataError`."""
    drawn = str(chart)
    for variable, colour in _BY_ITSELF.items():
        drawn = drawn.replace(variable, colour)
    drawn = drawn.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) if "xmlns=" not in drawn else drawn
    try:
        if path.suffix == ".svg":
            path.write_text(drawn + "\n", encoding="utf-8")
        elif path.suffix == ".png":
            import vl_convert

            path.write_bytes(vl_convert.svg_to_png(drawn, scale=2))
        else:
            raise DataError(f"{path}: charts are written as .svg or .png")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def risk(curve: Sequence[RiskPoint]) -> Markup:
    """The errors left among the answers that are kept, by the share of items that is kept."""
    import altair as alt

    rows = [{"coverage": point.coverage, "risk": point.risk} for point in curve]
    most = max((point.risk for point in curve), default=0.0)
    top = next((end for end in (0.05, 0.1, 0.2, 0.3, 0.5) if most <= end), 1.0)
    y = alt.Y("risk:Q", title="errors among them", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(tickCount=5, format="%"))
    x = _share("coverage:Q", "items decided without a person", "%")
    line = alt.Chart(alt.Data(values=rows)).mark_line(color=_ACCENT, strokeWidth=2, interpolate="step-after").encode(x=x, y=y)
    end = alt.Chart(alt.Data(values=rows[-1:])).mark_point(color=_ACCENT, filled=True, size=60, opacity=1).encode(x=x, y=y)
    described = f"At {rows[-1]['coverage']:.0%} coverage the risk is {rows[-1]['risk']:.1%}" if rows else "no points"
    return _svg(alt.layer(line, end), f"Risk by coverage. {described}")


def thresholds(points: Sequence[ThresholdPoint]) -> Markup:
    """Precision, recall and F1 by the threshold of the score; the page moves a line over it."""
    import altair as alt

    rows: list[Row] = []
    for point in points:
        hits, alarms, misses = point.true_positives, point.false_positives, point.false_negatives
        shares = {
            "precision": (hits, hits + alarms),
            "recall": (hits, hits + misses),
            "F1": (2 * hits, 2 * hits + alarms + misses),
        }
        rows += [
            {"threshold": min(1.0, point.threshold), "value": above / below, "which": which}
            for which, (above, below) in shares.items()
            if below
        ]
    which = alt.Color(
        "which:N", sort=None, title=None,
        scale=alt.Scale(domain=["precision", "recall", "F1"], range=[_MUTED, _INK, _ACCENT]),
        legend=alt.Legend(orient="none", legendX=8, legendY=HEIGHT - 58, symbolType="stroke", symbolSize=300, labelFontSize=11,
                          fillColor=_PAPER, padding=4),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "which:N", sort=None, scale=alt.Scale(domain=["precision", "recall", "F1"], range=[[6, 3], [2, 2], [1, 0]]),
        legend=alt.Legend(orient="none", legendX=8, legendY=HEIGHT - 58, title=None),
    )  # fmt: skip
    chart = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=2)
    encoded = chart.encode(
        x=_share("threshold:Q", "threshold of the score"), y=_share("value:Q", ""), color=which, strokeDash=dash
    )
    return _svg(alt.layer(encoded), "Precision, recall and F1 by the threshold of the score")


def _share(field: str, title: str, format: str = ".1f") -> Any:
    """An axis from 0 to 1; fields of the horizontal one come first by name."""
    import altair as alt

    channel = alt.Y if field.split(":")[0] in ("rate", "value") else alt.X
    return channel(field, title=title or None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5, format=format))


def _svg(chart: alt.LayerChart, described: str, size: tuple[int, int] = (WIDTH, HEIGHT), left: int = LEFT) -> Markup:
    """The chart as an SVG element in the page's colours; its size does not depend on the fonts of this machine."""
    import altair as alt
    import vl_convert

    width, height = size
    padding = {"left": left, "right": RIGHT, "top": TOP, "bottom": _BOTTOM}
    whole = chart.properties(width=width, height=height, padding=padding, autosize=alt.AutoSizeParams(type="none"))
    axis = {
        "gridColor": _LINE, "domainColor": _MUTED, "tickColor": _MUTED, "labelColor": _MUTED, "titleColor": _MUTED,
        "titleFontWeight": "normal", "titleFontSize": 12, "labelFontSize": 11, "titlePadding": 8,
    }  # fmt: skip
    whole = whole.configure(background="transparent", font=_FONT, aria=False, axis=axis, legend={"labelColor": _INK})
    drawn = vl_convert.vegalite_to_svg(whole.configure_view(stroke=None).to_dict())
    for stand_in, colour in _COLOURS.items():
        drawn = drawn.replace(stand_in, colour)
    drawn = re.sub(r' (class|aria-\w+|role|version|xmlns:xlink|pointer-events)="[^"]*"', "", drawn)
    drawn = re.sub(r'<path d="M0,0h0v0h0Z"/>|<path d="" display="none"/>', "", drawn)
    return Markup(drawn.replace("<svg", f'<svg class="chart" role="img" aria-label="{escape(described)}"', 1))


def require() -> None:
    """Raises `DataError` where the libraries of charts are not installed."""
    for name in ("altair", "vl_convert"):
        if find_spec(name) is None:
            raise DataError(f"report: {name} is not installed\n  pip install 'moderator[report]'")
