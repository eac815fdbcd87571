"""Where outcomes to compare come from: runs, and files of outcome lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moderator.comparing.compare import compare
from moderator.comparing.joining import Outcomes, changed_contents, short
from moderator.comparing.model import Comparison
from moderator.content import Content
from moderator.errors import DataError
from moderator.metrics import Resampling
from moderator.records import read_outcomes
from moderator.runs import Run, load_run
from moderator.scoring import PolicyRule
from moderator.suite import Suite
from moderator.verdict import Failure, Verdict


@dataclass(frozen=True)
class Judged:
    """Outcomes under one policy, and what they are about."""

    policy: str
    """Its slug."""
    outcomes: Outcomes
    suite: Suite | None = None
    rules: Sequence[PolicyRule] = ()


@dataclass(frozen=True)
class Log:
    """Outcomes under a name: a part for each suite of a run, or for each policy of a file."""

    name: str
    parts: tuple[Judged, ...]
    contents: Mapping[str, Content] = field(default_factory=dict)
    """Of a run: what was judged, by id."""
    run: Run | None = None


def open_log(path: Path, *, suites: Sequence[str] = (), partial: bool = False) -> Log:
    """A run's folder, or a file of outcome lines; of a run all its suites or those that are named. Raises `DataError`."""
    if not path.is_dir():
        if suites:
            raise DataError(f"{path}: has no suites\n  only the folder of a run has")
        return _file(path)
    run = load_run(path, partial=partial)
    known = [suite.slug for suite in run.suites]
    if unknown := [slug for slug in suites if slug not in known]:
        raise DataError(f"{path}: has no suite {unknown[0]!r}\n  it has {', '.join(known)}")
    parts: list[Judged] = []
    contents: dict[str, Content] = {}
    for suite in run.suites:
        if suites and suite.slug not in suites:
            continue
        slug = run.manifest.suite(suite.slug).policy
        parts.append(Judged(slug, run.outcomes(suite.slug), suite, run.manifest.policies[slug].rules))
        contents |= {item.id: item.content() for item in run.judged(suite.slug)}
    return Log(str(path), tuple(parts), contents, run)


def _file(path: Path) -> Log:
    found: dict[str, dict[str, Verdict | Failure]] = {}
    for number, outcome in enumerate(read_outcomes(path), start=1):
        of_policy = found.setdefault(outcome.policy, {})
        if outcome.content_id in of_policy:
            what = f"content {outcome.content_id!r} was judged before under policy {outcome.policy!r}"
            raise DataError(f"{path}:{number}: {what}\n  a file compares where it has one outcome for each")
        of_policy[outcome.content_id] = outcome
    if not found:
        raise DataError(f"{path}: has no outcomes")
    return Log(str(path), tuple(Judged(slug, outcomes) for slug, outcomes in found.items()))


def compare_logs(
    first: Log,
    second: Log,
    *,
    suite: Suite | None = None,
    metric: str = "f1",
    how: Resampling | None = None,
    texts: bool = False,
    contents: Mapping[str, Content] | None = None,
    allow_shift: bool = False,
) -> tuple[Comparison, ...]:
    """A comparison for each suite that both have or, where one is a file, for each policy.

    The second's suites bring labels and texts; where neither is a run `suite` does, and `contents` bring texts. `how` says how
    intervals are made; its minimum is the suite's. Raises `DataError` where they have nothing in common.
    """
    found = []
    for a, b in _matched(first, second):
        labels = b.suite or a.suite or suite
        found.append(
            compare(
                labels,
                a.outcomes,
                b.outcomes,
                names=(first.name, second.name),
                rules=_rules(a, b),
                metric=metric,
                how=how and Resampling(how.level, how.resamples, how.index_resamples, how.seed, _minimum(labels, how)),
                texts=_texts(first, second, labels, contents or {}) if texts else None,
                changed=changed_contents(a.suite, b.suite),
                differs=_suites_differ(a.suite, b.suite),
                allow_shift=allow_shift,
            )
        )
    return tuple(found)


def only_one_has(first: Log, second: Log) -> list[str]:
    """Suites or policies of one side that cannot be compared because the other does not have them, in words."""
    pairs = _matched(first, second)
    sides = ((first, [a for a, _ in pairs]), (second, [b for _, b in pairs]))
    return [f"only {log.name} has {_name(part)}" for log, used in sides for part in log.parts if part not in used]


def _matched(first: Log, second: Log) -> list[tuple[Judged, Judged]]:
    if first.run and second.run:
        by_suite = {part.suite.slug: part for part in first.parts if part.suite}
        pairs = [(by_suite[part.suite.slug], part) for part in second.parts if part.suite and part.suite.slug in by_suite]
    elif len(first.parts) == len(second.parts) == 1:
        pairs = [(first.parts[0], second.parts[0])]
    else:
        pairs = [(a, b) for b in second.parts for a in first.parts if a.policy == b.policy]
    if not pairs:
        have = (f"{log.name} has {', '.join(map(_name, log.parts)) or 'nothing'}" for log in (first, second))
        raise DataError(f"compare: nothing in common\n  {'; '.join(have)}")
    return pairs


def _name(part: Judged) -> str:
    return f"suite {part.suite.slug}" if part.suite else f"policy {part.policy}"


def _rules(a: Judged, b: Judged) -> list[PolicyRule]:
    """The second's, then those that only the first has."""
    known = {rule.id for rule in b.rules}
    return [*b.rules, *(rule for rule in a.rules if rule.id not in known)]


def _suites_differ(a: Suite | None, b: Suite | None) -> tuple[str, ...]:
    if a is None or b is None or a.digest == b.digest:
        return ()
    return (f"suite: {a.version} ({short(a.digest)}) -> {b.version} ({short(b.digest)}), whose labels count",)


def _texts(first: Log, second: Log, suite: Suite | None, contents: Mapping[str, Content]) -> dict[str, str]:
    found = {id: content.text for known in (contents, first.contents, second.contents) for id, content in known.items()}
    return found | ({item.id: item.text for item in suite.items} if suite else {})


def _minimum(suite: Suite | None, how: Resampling) -> int:
    return suite.minimum if suite else how.minimum
