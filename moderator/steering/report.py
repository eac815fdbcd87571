"""A result as rows for people, as Markdown, and as JUnit XML for a CI server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from moderator.steering.result import Limits, Probe, Steerability, pooled

COLUMNS: Final = ("probe", "must", "k/n", "units", "rate", "interval", "limit", "result")
TOTAL: Final = "all policies"

_READING: Final = """\
Each content is judged under the policy and under a change of it. `k/n`: of the trials, those that flipped (`flips`), or those
that did not stay or did not pass (`stays`, `passes`). Units: the contents behind them (those of one template are one);
intervals are Wilson's, or by the cluster bootstrap over units where some have several trials. To flip or pass is to be let
through: `needs_review` and failures are not, and a failure counts against every probe. Inconclusive: fewer units than the
minimum, or nothing was flagged that could have changed. The examples that are judged are taken out of the prompt. A change that
the prompt does not show is not tried."""


def rows(probes: Sequence[Probe], limits: Limits) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` for each probe."""
    return [_row(probe, limits) for probe in probes]


def _row(probe: Probe, limits: Limits) -> tuple[str, ...]:
    rate = probe.rate
    interval = "n/a" if rate.low is None or rate.high is None else f"{rate.low:.3f} to {rate.high:.3f}"
    bound = f"{'>=' if probe.check.must == 'flips' else '<='} {limits.values[probe.name]:g}"
    value = "n/a" if rate.value is None else f"{rate.value:.3f}"
    return probe.name, probe.check.must, f"{probe.k:,}/{probe.n:,}", f"{rate.n:,}", value, interval, bound, limits.result(probe)


def base_line(result: Steerability) -> str:
    """What the moderator said under the policy itself, in one line."""
    base = result.base
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(base.outcomes.items()))
    return (
        f"{base.contents:,} contents: {outcomes}; flagged {base.violating_flagged:,} of {base.violating:,} that violate, "
        f"{base.harmless_flagged:,} of {base.harmless:,} that do not"
    )


def to_markdown(results: Sequence[Steerability], limits: Limits, command: str) -> str:
    """A report for the repository: the command that made it, and a table for each policy and for all of them together."""
    first = results[0].provenance
    engine = f"Engine `{first.engine}`, model `{first.model}`, prompt family `{first.parameters['family']}`"
    level, minimum = results[0].probes[0].how.level, results[0].probes[0].how.minimum
    blocks = [
        "# Steerability",
        f"```\n{command}\n```",
        f"{engine}, mode `{first.parameters['mode']}`, plan `{first.parameters['plan']}`; intervals at {level:g}, "
        f"minimum {minimum} contents, seed {results[0].seed}.",
        _READING,
    ]
    blocks.append(
        "| probe | what must happen |\n|---|---|\n" + "\n".join(f"| {p.name} | {p.check.says} |" for p in results[0].probes)
    )
    together = pooled(results)
    if len(results) > 1:
        blocks += [f"## {TOTAL.capitalize()}", _table(together, limits)]
    blocks.append(_of_flagged(together))
    if variants := _variants(together):
        blocks += ["## By variant", variants]
    for result in results:
        unrelated = f" Policy about something else: {result.unrelated}." if result.unrelated else ""
        blocks += [
            f"## {result.policy}",
            f"{base_line(result)}. {result.withheld} examples withheld from the prompt.{unrelated}",
            _table(result.probes, limits),
            _left_out(result),
        ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(probes: Sequence[Probe], limits: Limits) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(probes, limits)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _of_flagged(probes: Sequence[Probe]) -> str:
    """How little it takes to change what was flagged: the background of what flips."""
    said = [
        f"{probe.name} {k:,}/{n:,} ({k / n:.3f})"
        for probe in probes
        for k, n in (probe.of_flagged,)
        if n and probe.check.must == "stays" and probe.name != "ids_cited"
    ]
    if not said:
        return ""
    why = "Close calls change with any change, so a rate of flips says something only so far as it is above these."
    return f"Of the trials on flagged contents alone, those that did not stay: {', '.join(said)}. {why}"


def _variants(probes: Sequence[Probe]) -> str:
    """The probes whose changes are of several kinds; deletions differ by policy and are not listed."""
    lines = ["| probe | variant | k/n | rate |", "|---|---|---|---|"]
    for probe in probes:
        if probe.check.family in ("carve_out", "order", "paraphrase", "injection"):
            lines += [f"| {probe.name} | {name} | {k:,}/{n:,} | {k / n:.3f} |" for name, (k, n) in probe.variants.items()]
    return "\n".join(lines) if len(lines) > 2 else ""


def _left_out(result: Steerability) -> str:
    counts = [f"{probe.name}: {n:,} ({why})" for probe in result.probes for why, n in probe.left_out.items()]
    return f"Trials left out: {'; '.join(counts)}." if counts else ""


def to_junit(results: Sequence[Steerability], limits: Limits, *, allow_inconclusive: bool = False) -> str:
    """JUnit XML: a suite for each policy, a case for each probe.

    A probe that falls short fails; one that is inconclusive fails too, and is skipped where that is allowed.
    """
    root = ElementTree.Element("testsuites", name="moderator eval steer")
    for result in results:
        found = [limits.result(probe) for probe in result.probes]
        failing = ("short",) if allow_inconclusive else ("short", "inconclusive")
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=result.policy,
            tests=str(len(found)),
            failures=str(sum(one in failing for one in found)),
            skipped=str(found.count("inconclusive") if allow_inconclusive else 0),
            errors="0",
        )
        for probe, outcome in zip(result.probes, found, strict=True):
            case = ElementTree.SubElement(suite, "testcase", classname=result.policy, name=probe.name)
            if outcome == "pass":
                continue
            kind = "failure" if outcome in failing else "skipped"
            said = ElementTree.SubElement(case, kind, message=f"{outcome}: {_said(probe, limits)}")
            if kind == "failure":
                said.text = "\n".join(
                    f"{trial.content_id} ({trial.variant}): {trial.before or 'not judged'} -> {trial.after}"
                    for trial in probe.misbehaved
                )
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _said(probe: Probe, limits: Limits) -> str:
    _, must, counted, _, value, interval, bound, _ = _row(probe, limits)
    return f"{probe.check.says}; {must}: {value} ({interval}), {counted} trials, limit {bound}"
