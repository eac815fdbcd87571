"""A report as a whole: counts, rules, severity, slices, prevalence, cost, targets; the same whatever the order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.errors import DataError
from moderator.metrics import Resampling, proportion_estimate
from moderator.scoring import REPORT, Report, Scoring, check_targets, fit_floor, score
from moderator.suite import Item, Source, Span, Suite
from moderator.verdict import Failure, Verdict
from tests.scoring.making import (
    FEW_RESAMPLES,
    NO_INTERVALS,
    RULES,
    Row,
    failure,
    item,
    outcome_of,
    report_of,
    said,
    scored,
    suite,
    used,
    value,
    verdict,
)


def whole(seed: int = 0, n: int = 48) -> tuple[list[Item], list[Verdict | Failure]]:
    """Something of everything: annotators with names, groups, slices, spans, rules, unknown and missing."""
    generator = np.random.default_rng(seed)
    items: list[Item] = []
    outcomes: list[Verdict | Failure] = []
    for place in range(n):
        answers = generator.choice(["yes", "no", "unsure"], size=3, p=[0.45, 0.45, 0.1])
        labels = [
            said(
                str(answer),
                by=f"judge {seat}",
                rules={"H1": str(answer) if answer != "unsure" else "unknown", "H2": "no"},
                spans=(Span(start=0, end=int(generator.integers(2, 8))),) if answer == "yes" else (),
            )
            for seat, answer in enumerate(answers)
        ]
        slices = {"language": ("en", "de")[place % 2]} if place % 5 else {}
        group = f"g{place // 3}" if place % 4 else ""
        split = "train" if place % 6 == 0 else "test"
        items.append(item(f"{place:03}", *labels, slices=slices, group=group, split=split, text=f"{answers[0]} word {place}"))
        name = str(generator.choice(["violates", "allowed", "needs_review", "failure", "allowed_by_exception"]))
        if name == "failure":
            outcomes.append(failure(f"{place:03}"))
        elif place % 11:
            p = float(generator.integers(0, 11)) / 10
            outcomes.append(verdict(f"{place:03}", name, p, ["H1"], [("exact", 0, 5)], usage=used(100, 50, 7, 12.5)))
    return items, outcomes


def test_every_item_is_counted_where_it_went() -> None:
    items = [
        item("a", "yes"),
        item("b", "no"),
        item("c", "unsure"),
        item("d"),
        item("e", "yes"),
        item("t", "yes", split="train"),
    ]
    outcomes = [
        verdict("a", "violates"),
        failure("b", "cut"),
        failure("c", "refused"),
        verdict("d", "not_covered"),
        verdict("t", "violates"),
        verdict("stranger", "violates"),
    ]
    counts = scored(suite(items), outcomes).counts
    assert (counts.judged, counts.missing, counts.known, counts.violating, counts.clusters) == (4, 1, 2, 1, None)
    assert counts.outcomes == {"violates": 1, "failure": 2, "not_covered": 1}
    assert counts.failures == {"cut": 1, "refused": 1}


def test_what_is_missing_is_in_no_number() -> None:
    items = [item(str(n), "yes" if n % 2 else "no") for n in range(8)]
    outcomes = [verdict(str(n), "violates", 0.9) for n in range(6)]
    found, without = scored(suite(items), outcomes), scored(suite(items[:6]), outcomes)
    assert found.metrics == without.metrics
    assert (found.counts.missing, without.counts.missing) == (2, 0)


def test_groups_are_counted_and_an_item_of_none_is_not_taken_for_a_group_of_its_name() -> None:
    items = [item("a", "yes", group="b"), item("b", "no"), item("c", "no", group="b"), item("d", "no")]
    report = scored(suite(items), [verdict(one.id, "violates") for one in items])
    assert report.counts.clusters == 3
    assert report.metrics["accuracy"].n == 3


def test_training_items_are_scored_only_when_asked_for() -> None:
    of = suite([item("a", "yes", split="train"), item("b", "no")])
    outcomes = {name: verdict(name, "violates") for name in "ab"}
    assert score(of, outcomes, RULES).counts.judged == 1
    assert score(of, outcomes, RULES, items=of.items).counts.judged == 2


def test_nothing_to_score_is_an_error_that_says_what_is_missing() -> None:
    of = suite([item("a", "yes", split="train")])
    with pytest.raises(DataError, match="own: no items to score\n  unless told, those of the test split"):
        score(of, {"a": verdict("a", "violates")}, RULES)
    of = suite([item("a", "yes"), item("b", "no")])
    with pytest.raises(DataError, match="own: none of its 2 items has an outcome\n  was this run made with this suite"):
        score(of, {"x": verdict("x", "violates")}, RULES)


def test_one_item_and_no_labels_at_all_make_a_report() -> None:
    for rows in ([("y", "violates", 0.9)], [("", "violates", 0.9)], [("", "failure", None)] * 3, [("u", "allowed", None)]):
        report = report_of(rows, FEW_RESAMPLES, minimum=30)
        assert report.counts.judged == len(rows)
        assert all(estimate.inconclusive for estimate in report.metrics.values())
        assert REPORT.validate_json(REPORT.dump_json(report)) == report


def test_rules_by_hand() -> None:
    items = [
        item("a", said(rules={"H1": "yes", "H2": "no"})),
        item("b", said(rules={"H1": "yes"})),
        item("c", said("no", rules={"H1": "no"})),
        item("d", said(rules={"H1": "yes"})),
        item("e", said(rules={"H1": "yes"})),
        item("f", said(rules={"H2": "yes"})),
        item("g", said("no", rules={"H1": "no"})),
    ]
    outcomes = [
        verdict("a", "violates", rules=["H2", "H1"]),  # H1 found, H2 wrongly cited
        verdict("b", "violates", rules=["H2"]),  # H1 not found
        verdict("c", "needs_review", rules=["H1"]),  # cited, though a person decides
        verdict("d", "needs_review", rules=["H2"]),  # not cited, and no answer
        failure("e"),
        verdict("f", "violates", rules=["H1"]),  # unknown whether H1 holds
        verdict("g", "allowed_by_exception", rules=["H1"]),  # waived: not cited
    ]
    first, second, third = scored(suite(items), outcomes).rules
    assert [(rule.id, rule.title, rule.severity) for rule in (first, second, third)] == [
        ("H1", "Threat", "critical"), ("H2", "Insult", "medium"), ("H3", "Sale", "low"),
    ]  # fmt: skip
    assert (first.known, first.positive, first.cited) == (6, 4, 3)
    assert value(first.metrics["precision"]) == pytest.approx(1 / 2)  # a; c
    assert value(first.metrics["recall"]) == pytest.approx(1 / 4)
    assert value(first.metrics["missed"]) == pytest.approx(1 / 4)
    assert value(first.metrics["answered"]) == pytest.approx(4 / 6)
    assert (second.known, second.positive, second.cited) == (2, 1, 3)
    # a rule that nobody labels is unknown everywhere
    assert (third.known, third.positive, third.cited) == (0, 0, 0)
    assert {value(estimate) for estimate in third.metrics.values()} == {None}
    assert "auroc" not in first.metrics


def test_citations_hit_where_one_of_the_rules_that_hold_is_cited() -> None:
    items = [
        item("a", said(rules={"H1": "yes", "H2": "yes"})),
        item("b", said(rules={"H1": "yes", "H2": "no"})),
        item("c", said(rules={"H1": "yes"})),  # not found
        item("d", said(rules={"H2": "no"})),  # no rule is known to hold
        item("e", said("no", rules={"H1": "no"})),
        item("f", said(rules={"H3": "yes"})),
        item("g", said(rules={"H1": "yes"})),
        item("h", said("no", rules={"H1": "yes"})),  # no violation, whatever was said of the rule
    ]
    outcomes = [
        verdict("a", "violates", rules=["H3", "H2"]),
        verdict("h", "violates", rules=["H1"]),
        verdict("b", "violates", rules=["H2"]),
        verdict("c", "allowed"),
        verdict("d", "violates", rules=["H2"]),
        verdict("e", "violates", rules=["H1"]),
        verdict("f", "needs_review", rules=["H3"]),
        failure("g"),
    ]
    found = scored(suite(items), outcomes).citations
    assert found.value == pytest.approx(2 / 3)
    assert found.n == 3


def test_the_kappa_of_severity_is_scikit_learns() -> None:
    grades = ["none", "low", "medium", "high", "critical"]
    generator = np.random.default_rng(0)
    items, outcomes, gold, judged = [], [], [], []
    for place in range(40):
        known = ("none", "low", "medium", "critical")[place % 4]
        rule = {"low": "H3", "medium": "H2", "critical": "H1"}.get(known)
        items.append(item(f"{place:02}", said(rules={rule: "yes"}) if rule else "no"))
        answer = str(generator.choice(grades))
        outcomes.append(verdict(f"{place:02}", "allowed" if answer == "none" else "violates", severity=answer))
        gold.append(grades.index(known))
        judged.append(grades.index(answer))
    unknown = [item("u", "unsure"), item("v", "yes")]
    report = scored(suite([*items, *unknown]), [*outcomes, verdict("u", "violates"), verdict("v", "violates")])
    expected = oracle.cohen_kappa_score(gold, judged, weights="quadratic", labels=list(range(5)))
    assert value(report.severity) == pytest.approx(expected)
    assert report.severity.n == 40
    flagged = {
        grade: [answer > 0 for known, answer in zip(gold, judged, strict=True) if grades[known] == grade] for grade in grades
    }
    assert [(one.severity, one.n) for one in report.severities] == [("low", 10), ("medium", 10), ("critical", 10)]
    for one in report.severities:
        assert value(one.recall) == pytest.approx(np.mean(flagged[one.severity]))
        assert one.recall == proportion_estimate(sum(flagged[one.severity]), 10, Resampling(minimum=1))


def test_a_failure_is_as_far_from_every_severity_as_can_be() -> None:
    items = [item("a", said(rules={"H1": "yes"})), item("b", "no"), item("c", said(rules={"H3": "yes"}))]
    right = [verdict("a", "violates", severity="critical"), verdict("b", "allowed"), verdict("c", "violates", severity="low")]
    assert value(scored(suite(items), right).severity) == 1
    with_failure = scored(suite(items), [*right[:2], failure("c")])
    # observed: 1 of 3 at distance 1; expected, over gold 4, 0, 1 and answers 4, 0, failure: squares of distance by 16
    expected = (0 + 1 + 1 + 1 + 0 + 1 + 9 / 16 + 1 / 16 + 1) / 9
    assert value(with_failure.severity) == pytest.approx(1 - (1 / 3) / expected)
    assert [(one.severity, value(one.recall)) for one in with_failure.severities] == [("low", 0), ("critical", 1)]


@pytest.mark.parametrize("rows", [[("n", "allowed", 0.1)] * 3, [("u", "allowed", 0.1)] * 3, [("y", "violates", 0.9)] * 3])
def test_of_one_severity_there_is_no_agreement(rows: list[Row]) -> None:
    report = report_of(rows, FEW_RESAMPLES)
    assert value(report.severity) is None
    assert report.severities == ()


def test_one_severity_is_no_agreement_even_where_the_verdicts_have_several() -> None:
    outcomes = [verdict("a", "allowed"), verdict("b", "violates", severity="high")]
    found = scored(suite([item("a", "no"), item("b", "no"), item("c")]), [*outcomes, failure("c")]).severity
    assert (found.value, found.n) == (None, 2)


def test_severities_mind_the_groups() -> None:
    items = [item(str(n), said(rules={"H1": "yes"}), group=f"g{n // 5}") for n in range(20)]
    outcomes = [verdict(str(n), "violates" if n < 10 else "allowed", rules=["H1"] if n < 10 else []) for n in range(20)]
    (found,) = scored(suite(items), outcomes, FEW_RESAMPLES).severities
    assert (found.n, found.recall.n, found.recall.method) == (20, 4, "cluster_bootstrap")


def test_slices_are_the_reports_of_their_items() -> None:
    items = [
        item(
            str(n),
            ("yes", "no", "unsure")[n % 3],
            slices={"language": ("en", "de")[n % 2]} if n < 10 else {},
            group=f"g{n // 4}",
        )
        for n in range(12)
    ]
    outcomes = [outcome_of(str(n), ("violates", "allowed", "failure")[n % 4 % 3], n / 12) for n in range(12)]
    report = scored(suite(items, slices=("language", "surface")), outcomes, FEW_RESAMPLES)
    assert [(part.key, part.value, part.n, part.violating) for part in report.slices] == [
        ("language", "de", 5, 2), ("language", "en", 5, 2),
    ]  # fmt: skip
    for part in report.slices:
        alone = [one for one in items if one.slices.get("language") == part.value]
        assert part.metrics == scored(suite(alone), outcomes, FEW_RESAMPLES).metrics


def test_a_slice_of_which_nothing_is_known_is_named() -> None:
    items = [item("a", "unsure", slices={"language": "fr"}), item("b", "yes", slices={"language": "en"})]
    report = scored(suite(items, slices=("language",)), [verdict(one.id, "violates") for one in items])
    assert [(part.value, part.n, part.violating) for part in report.slices] == [("en", 1, 1), ("fr", 1, 0)]
    assert value(report.slices[1].metrics["accuracy"]) is None


def test_prevalence_is_rogan_and_gladens_over_unlabelled_items() -> None:
    # sensitivity 3 of 4 (one was left to a person), specificity 5 of 6; 4 of 10 unlabelled are flagged
    rows: list[Row] = [
        *[("y", "violates", None)] * 3, ("y", "needs_review", None), *[("n", "allowed", None)] * 5, ("n", "violates", None),
        *[("", "violates", None)] * 4, *[("", "allowed", None)] * 5, ("", "failure", None),
        *[("u", "violates", None)] * 7,
    ]  # fmt: skip
    found = report_of(rows).prevalence
    assert value(found) == pytest.approx((4 / 10 + 5 / 6 - 1) / (3 / 4 + 5 / 6 - 1))
    assert found is not None
    assert found.method == "lang_reiczigel"
    assert found.n == 4


def test_prevalence_is_that_of_a_stream_where_there_is_one() -> None:
    rows: list[Row] = [*[("y", "violates", None)] * 4, *[("n", "allowed", None)] * 4, *[("", "violates", None)] * 9]
    items = [item(f"{place:02}", *({"y": ["yes"], "n": ["no"], "": []}[votes])) for place, (votes, _, _) in enumerate(rows)]
    outcomes = [outcome_of(f"{place:02}", name) for place, (_, name, _) in enumerate(rows)]
    stream = [verdict("s", "violates"), failure("t"), verdict("u", "allowed"), verdict("v", "not_covered")]
    assert value(scored(suite(items), outcomes, stream=stream).prevalence) == pytest.approx(1 / 4)
    assert value(scored(suite(items), outcomes).prevalence) == 1


def test_prevalence_needs_unlabelled_contents_and_a_moderator_better_than_chance() -> None:
    assert report_of([("y", "violates", None), ("n", "allowed", None)]).prevalence is None
    assert value(report_of([("y", "allowed", None), ("n", "violates", None), ("", "allowed", None)]).prevalence) is None


def test_cost_and_price() -> None:
    items = [item(str(n), "yes") for n in range(5)]
    outcomes = [verdict(str(n), "violates", usage=used(1000, 400, 50, 10.0 * n)) for n in range(4)]
    by_id = {one.content_id: one for one in [*outcomes, failure("4")]}
    cost = score(suite(items), by_id, RULES, Scoring(NO_INTERVALS), wall_s=2.5).cost
    assert (cost.prompt_tokens, cost.cached_tokens, cost.completion_tokens, cost.wall_s) == (4000, 1600, 200, 2.5)
    assert cost.latency_ms == {"mean": 15, "p50": 15, "p95": pytest.approx(28.5), "p99": pytest.approx(29.7)}
    assert cost.price is None
    price = scored(suite(items), by_id.values(), prices={"prompt": 2.0, "cached": 0.5, "completion": 8.0}).cost.price
    assert price == pytest.approx((2400 * 2 + 1600 * 0.5 + 200 * 8) / 1e6)
    # cached tokens are dear where nobody said that they are cheap
    assert scored(suite(items), by_id.values(), prices={"prompt": 2.0}).cost.price == pytest.approx(4000 * 2 / 1e6)
    assert scored(suite(items), by_id.values(), prices={"completion": 8.0}).cost.price == pytest.approx(200 * 8 / 1e6)


def test_failures_alone_cost_nothing_that_is_known() -> None:
    cost = report_of([("y", "failure", None)]).cost
    assert (cost.prompt_tokens, cost.latency_ms, cost.wall_s, cost.price) == (0, {}, None, None)


def test_a_price_of_no_tokens_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"prices: no tokens 'promt'.*did you mean `prompt`.*\n  tokens are prompt, cached, completion"
    ):
        Scoring(prices={"promt": 1.0})


TARGETS = {
    "recall": 0.75,
    "precision": 0.9,
    "mcc": 0.1,
    "rules": {"H1": {"recall": 0.5, "precision": 0.5}, "H3": {"recall": 0.1}},
}


def with_targets(minimum: int) -> Report:
    items = [item(f"{n:02}", said(rules={"H1": "yes"}) if n < 20 else "no") for n in range(40)]
    names = ["violates"] * 15 + ["allowed"] * 5 + ["violates"] * 5 + ["allowed"] * 15
    outcomes = [outcome_of(f"{n:02}", name, 0.5) for n, name in enumerate(names)]
    return scored(suite(items, minimum=minimum, targets=TARGETS), outcomes)


def test_targets_are_reached_short_or_inconclusive() -> None:
    found = with_targets(minimum=20)
    assert [(check.rule, check.metric, check.least, check.status) for check in found.checks] == [
        (None, "recall", 0.75, "reached"),  # 15 of 20: just
        (None, "precision", 0.9, "short"),  # 15 of 20
        (None, "mcc", 0.1, "reached"),
        ("H1", "recall", 0.5, "reached"),
        ("H1", "precision", 0.5, "inconclusive"),  # 15 of 15: where H1 is known; below the minimum
        ("H3", "recall", 0.1, "inconclusive"),  # nobody labels it
    ]
    assert found.reached is False
    assert found.checks[0].estimate == found.metrics["recall"]
    few = with_targets(minimum=21)
    assert [check.status for check in few.checks[:3]] == ["inconclusive", "inconclusive", "reached"]
    assert few.reached is False


def test_all_targets_reached_and_none_asked() -> None:
    rows: list[Row] = [("y", "violates", 0.9), ("n", "allowed", 0.1)]
    assert report_of(rows, targets={"f1": 1.0, "auroc": 1}).reached is True
    assert report_of(rows).reached is None


@pytest.mark.parametrize(
    ("targets", "said_"),
    [
        ({"recal": 0.5}, r"targets: no metric 'recal' \(did you mean `recall`\?\)\n  metrics are precision, recall, f1"),
        ({"rules": {"H9": {"f1": 0.5}}}, r"targets: the policy has no rule 'H9'\n  rules are H1, H2, H3"),
        ({"rules": {"H1": {"auroc": 0.5}}}, r"targets: no metric 'auroc'.*\n  metrics are .*answered$"),
        ({"missed": 0.1}, r"targets: 'missed' is not better the higher it is\n  metrics are precision"),
        ({"rules": {"H1": {"flagged": 0.1}}}, r"targets: 'flagged' is not better the higher it is"),
    ],
)
def test_a_target_that_cannot_be_is_an_error_with_a_hint(targets: dict[str, object], said_: str) -> None:
    with pytest.raises(DataError, match=said_):
        report_of([("y", "violates", 0.9)], targets=targets)


def test_targets_may_be_checked_again_without_a_run() -> None:
    report = with_targets(20)
    of = suite([], targets=TARGETS)
    assert tuple(check_targets(of.targets, report.metrics, report.rules)) == report.checks


def everything(items: Sequence[Item], outcomes: Sequence[Verdict | Failure]) -> Report:
    of: Suite = suite(items, slices=("language",), targets={"f1": 0.5}, source=Source(name="Own", licence="CC0-1.0"))
    by_id = {outcome.content_id: outcome for outcome in outcomes}
    scoring = Scoring(FEW_RESAMPLES, floor=fit_floor(of), prices={"prompt": 1.0})
    return score(of, by_id, RULES, scoring, run={"id": "r1", "seed": 3}, wall_s=1.0)


def test_a_report_is_written_and_read_as_json() -> None:
    report = everything(*whole())
    assert report.evidence is not None
    assert report.calibration is not None
    assert report.agreement[0].alt_test is not None
    assert report.agreement[0].anchors[1].metrics
    assert report.native_floor
    assert REPORT.validate_json(REPORT.dump_json(report)) == report
    assert report.judged.run == {"id": "r1", "seed": 3}
    assert (report.judged.suite, report.judged.policy, report.judged.digest[:7]) == ("own", "house", "sha256:")


def test_the_same_run_gives_the_same_report() -> None:
    assert everything(*whole()) == everything(*whole())


@given(st.randoms(use_true_random=False))
@settings(max_examples=3)
def test_the_order_of_items_does_not_matter(random: object) -> None:
    items, outcomes = whole()
    shuffled = items.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    scoring = Scoring(FEW_RESAMPLES, floor=fit_floor(suite(items)))
    by_id = {outcome.content_id: outcome for outcome in outcomes}
    of, other = (suite(these, slices=("language",)) for these in (items, shuffled))
    assert score(of, by_id, RULES, scoring) == score(other, dict(reversed(by_id.items())), RULES, scoring)


@given(st.randoms(use_true_random=False))
@settings(max_examples=3)
def test_the_order_of_annotators_does_not_matter(random: object) -> None:
    items, outcomes = whole()
    shuffled = []
    for one in items:
        labels = list(one.labels)
        random.shuffle(labels)  # type: ignore[attr-defined]
        shuffled.append(one.model_copy(update={"labels": tuple(labels)}))
    found, other = (REPORT.dump_python(scored(suite(these), outcomes)) for these in (items, shuffled))
    del found["judged"]["digest"], other["judged"]["digest"]  # a suite keeps the order in which labels were given
    assert _close(found) == _close(other)


def _close(value_: object) -> object:
    """With numbers rounded: sums in another order differ in their last digit."""
    if isinstance(value_, float):
        return round(value_, 9) + 0.0
    if isinstance(value_, dict):
        return {key: _close(part) for key, part in value_.items()}
    return [_close(part) for part in value_] if isinstance(value_, list | tuple) else value_
