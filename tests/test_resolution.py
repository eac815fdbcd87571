"""What follows from findings: rules, exceptions, precedence, escalation and evidence, decided by code."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderator.answer import LABELS, MISSING, Finding, RuleFinding
from moderator.content import Content
from moderator.policy import Policy, parse_policy
from moderator.policy.model import Action, Severity
from moderator.resolution import Conclusion, Reported, lead_order, resolve
from moderator.verdict import Outcome
from tests.small import DOCUMENT, house

TEXT = "you fool, I will hit you, buy my wheel, he lives in Elm Street"
QUOTES = {"H1": "hit you", "H2": "buy my wheel", "H3": "you fool", "H4": "lives in Elm Street"}


def report(label: str, *rules: str, sure: bool = True, quote: str | None = None, **fields: tuple[str, ...]) -> Reported:
    """A finding; each rule with its words in the content unless `quote` says otherwise."""
    found = tuple(RuleFinding(rule, QUOTES[rule] if quote is None else quote) for rule in rules)
    return Reported(Finding(label, found, **fields), sure)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    name: str
    reports: tuple[Reported, ...]
    outcome: Outcome
    rules: tuple[str, ...] = ()
    action: Action = "none"
    severity: Severity = "none"
    escalations: tuple[str, ...] = ()
    notice: str = ""
    missing: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


THREAT, SALE, INSULT = "We removed a threat.", "We labelled a sale.", "We hid an insult."
TABLE = [
    Case("nothing found", (report("no"),), "allowed"),
    Case("no rule covers it", (report("none"),), "not_covered"),
    Case("a rule", (report("yes", "H2"),), "violates", ("H2",), "label", "low", notice=SALE),
    Case("code triggers an escalation", (report("yes", "H1"),), "violates", ("H1",), "remove", "critical", ("E1",), THREAT),
    Case("not for a rule that is not found", (report("yes", "H3"),), "violates", ("H3",), "hide", "medium", (), INSULT),
    Case(
        "precedence goes before severity",
        (report("yes", "H1", "H2", "H3"),),
        "violates",
        ("H3", "H2", "H1"),
        "hide",
        "medium",
        ("E1",),
        INSULT,
    ),
    Case("one quote more is one rule still", (report("yes", "H2", "H2"),), "violates", ("H2",), "label", "low", notice=SALE),
    Case("an exception covers it", (report("exception", "H1", exceptions=("X1",)),), "allowed_by_exception", ("H1",)),
    Case("and leaves an action", (report("exception", "H2", exceptions=("X2",)),), "allowed_by_exception", ("H2",), "label"),
    Case(
        "the exceptions that apply leave their highest action, others none",
        (report("exception", "H1", exceptions=("X1", "X2")),),
        "allowed_by_exception",
        ("H1",),
    ),
    Case("code waives, whatever the label says", (report("yes", "H1", exceptions=("X1",)),), "allowed_by_exception", ("H1",)),
    Case(
        "an exception that asks for a person",
        (report("exception", "H3", exceptions=("X3",)),),
        "needs_review",
        ("H3",),
        "escalate",
        "medium",
    ),
    Case(
        "but not where it covers nothing that was found",
        (report("exception", "H1", exceptions=("X1", "X3")),),
        "allowed_by_exception",
        ("H1",),
    ),
    Case(
        "an exception that does not cover the rule",
        (report("exception", "H2", exceptions=("X1",)),),
        "violates",
        ("H2",),
        "label",
        "low",
        notice=SALE,
    ),
    Case(
        "one rule waived, one not",
        (report("yes", "H1", "H2", exceptions=("X1",)),),
        "violates",
        ("H2",),
        "label",
        "low",
        notice=SALE,
    ),
    Case(
        "never for: the rule holds, and a person decides on this one",
        (report("exception", "H4", exceptions=("X1",)),),
        "needs_review",
        ("H4",),
        "escalate",
        "high",
    ),
    Case("a rule that only people enforce", (report("yes", "H4"),), "needs_review", ("H4",), "escalate", "high"),
    Case(
        "one such rule among others",
        (report("yes", "H2", "H4"),),
        "needs_review",
        ("H4", "H2"),
        "escalate",
        "high",
    ),
    Case(
        "unknown",
        (report("unknown", "H3", missing=("thread",)),),
        "needs_review",
        ("H3",),
        "escalate",
        "medium",
        missing=("thread",),
    ),
    Case("unknown and nothing else", (report("unknown"),), "needs_review", (), "escalate"),
    Case("the model escalates", (report("unknown", escalations=("E2",)),), "needs_review", (), "escalate", escalations=("E2",)),
    Case(
        "where automation is none, the machine does nothing",
        (report("yes", "H2", escalations=("E2",)),),
        "violates",
        ("H2",),
        "escalate",
        "low",
        ("E2",),
        SALE,
    ),
    Case("an uncertain no", (report("no", sure=False),), "needs_review", (), "escalate"),
    Case("an uncertain none", (report("none", sure=False),), "needs_review", (), "escalate"),
    Case("an uncertain yes", (report("yes", "H2", sure=False),), "needs_review", ("H2",), "escalate", "low"),
    Case(
        "an uncertain exception",
        (report("exception", "H1", sure=False, exceptions=("X1",)),),
        "needs_review",
        ("H1",),
        "escalate",
        "critical",
    ),
    Case("a quote that is not there", (report("yes", "H2", quote="sell"),), "needs_review", ("H2",), "escalate", "low"),
    Case("no quote", (report("yes", "H2", quote=""),), "needs_review", ("H2",), "escalate", "low"),
    Case("a quote of nothing", (report("yes", "H2", quote=" \u200b"),), "needs_review", ("H2",), "escalate", "low"),
    Case(
        "one quote of two is there",
        (Reported(Finding("yes", (RuleFinding("H2", "sell"), RuleFinding("H2", "BUY  my"))), True),),
        "violates",
        ("H2",),
        "label",
        "low",
        notice=SALE,
    ),
    Case("an image that nobody saw", (report("no"),), "needs_review", (), "escalate", missing=("image",), images=("a.png",)),
    Case(
        "an image beside an exception",
        (report("exception", "H1", exceptions=("X1",)),),
        "needs_review",
        ("H1",),
        "escalate",
        "critical",
        missing=("image",),
        images=("a.png",),
    ),
    Case(
        "an image beside a violation",
        (report("yes", "H2"),),
        "violates",
        ("H2",),
        "label",
        "low",
        notice=SALE,
        images=("a.png",),
    ),
    Case("rule by rule: all clear", (report("no"), report("no")), "allowed"),
    Case("rule by rule: one found", (report("no"), report("yes", "H2")), "violates", ("H2",), "label", "low", notice=SALE),
    Case("rule by rule: one unsure", (report("no"), report("no", sure=False)), "needs_review", (), "escalate"),
    Case("rule by rule: one unknown", (report("no"), report("unknown")), "needs_review", (), "escalate"),
    Case(
        "rule by rule: a violation is one though another rule is not decided",
        (report("yes", "H2"), report("yes", "H1", sure=False)),
        "violates",
        ("H2", "H1"),
        "label",
        "low",
        ("E1",),
        SALE,
    ),
    Case(
        "rule by rule: an exception speaks for its own call",
        (report("exception", "H1", exceptions=("X1",)), report("yes", "H3")),
        "violates",
        ("H3",),
        "hide",
        "medium",
        notice=INSULT,
    ),
    Case(
        "rule by rule: waived and clear",
        (report("exception", "H1", exceptions=("X1",)), report("no")),
        "allowed_by_exception",
        ("H1",),
    ),
    Case("rule by rule: harmful otherwise", (report("no"), report("none")), "not_covered"),
    Case(
        "rule by rule: the same rule twice is one",
        (report("yes", "H2"), report("yes", "H2", quote="wheel")),
        "violates",
        ("H2",),
        "label",
        "low",
        notice=SALE,
    ),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_table(case: Case) -> None:
    concluded = resolve(house(), case.reports, Content(id="c", text=TEXT, images=case.images))
    assert (concluded.outcome, tuple(rule.id for rule in concluded.rules)) == (case.outcome, case.rules)
    assert (concluded.action, concluded.severity) == (case.action, case.severity)
    assert (concluded.escalations, concluded.notice, concluded.missing) == (case.escalations, case.notice, case.missing)


def test_evidence_is_marked_and_never_dropped() -> None:
    found = (
        RuleFinding("H2", "my wheel"),
        RuleFinding("H2", "MY WHEEL"),
        RuleFinding("H2", "cheap"),
        RuleFinding("H2", " my wheel "),
    )
    concluded = resolve(house(), [Reported(Finding("yes", found), True)], Content(id="c", text=TEXT))
    assert [(e.quote, e.match, e.start, e.end) for e in concluded.rules[0].evidence] == [
        ("my wheel", "exact", 30, 38),
        ("MY WHEEL", "normalised", 30, 38),
        ("cheap", "absent", None, None),
    ]
    assert TEXT[30:38] == "my wheel"


def test_what_was_reported_stays_on_record() -> None:
    """An exception that does not apply is in the verdict all the same: a reviewer sees what the model thought."""
    concluded = resolve(house(), [report("exception", "H2", exceptions=("X1",))], Content(id="c", text=TEXT))
    assert (concluded.outcome, concluded.exceptions) == ("violates", ("X1",))


def with_chains(*chains: str) -> Policy:
    return house().replace(precedence=tuple(tuple(chain.split()) for chain in chains))


@pytest.mark.parametrize(
    ("chains", "order"),
    [
        ([], "H1 H4 H3 H2"),
        (["H2 H1"], "H4 H3 H2 H1"),
        (["H3 H2 H1"], "H4 H3 H2 H1"),
        (["H2 H4", "H3 H1"], "H3 H1 H2 H4"),
        (["H2 H3", "H3 H4"], "H1 H2 H3 H4"),
        (["H1 H2", "H2 H1"], "H4 H3 H1 H2"),
        (["H1 H2 H3 H4 H1"], "H1 H2 H3 H4"),
    ],
)
def test_lead_order(chains: list[str], order: str) -> None:
    """Chains first, where they speak; then severity (H1 critical, H4 high, H3 medium, H2 low); a cycle ends all the same."""
    policy = with_chains(*chains)
    assert [rule.id for rule in lead_order(policy, policy.rules)] == order.split()
    assert [rule.id for rule in lead_order(policy, policy.rules[::-1])] == order.split()


def test_a_chain_holds_over_a_rule_that_was_not_found() -> None:
    policy = with_chains("H2 H3 H1")
    assert [rule.id for rule in lead_order(policy, [policy.rule("H1"), policy.rule("H2")])] == ["H2", "H1"]


def test_of_equal_severity_the_first_written_leads() -> None:
    policy = parse_policy(DOCUMENT.replace("Severity: low", "Severity: medium"))
    policy = policy.replace(precedence=())
    assert [rule.id for rule in lead_order(policy, policy.rules)] == ["H1", "H4", "H2", "H3"]


RULES, EXCEPTIONS, ESCALATIONS = ("H1", "H2", "H3", "H4"), ("X1", "X2", "X3"), ("E1", "E2")


def some(values: tuple[str, ...], most: int = 3) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=most).map(tuple)


FINDINGS = st.builds(
    Finding,
    label=st.sampled_from(LABELS),
    rules=st.lists(
        st.builds(RuleFinding, st.sampled_from(RULES), st.sampled_from([*QUOTES.values(), "no", "", "FOOL"])), max_size=4
    ).map(tuple),
    exceptions=some(EXCEPTIONS),
    escalations=some(ESCALATIONS),
    missing=some(MISSING),
)
REPORTS = st.lists(st.builds(Reported, FINDINGS, st.booleans()), min_size=1, max_size=4)
POLICIES = st.sampled_from([house(), with_chains(), with_chains("H1 H2", "H2 H1"), with_chains("H4 H3 H2 H1")])
IMAGES = st.sampled_from([(), ("a.png",)])


@given(POLICIES, REPORTS, IMAGES)
@settings(max_examples=500)
def test_whatever_was_found(policy: Policy, reports: list[Reported], images: tuple[str, ...]) -> None:
    """Nothing raises, and nothing is let through that was not clear, nor enforced that was not found, seen and quoted."""
    content = Content(id="c", text=TEXT, images=images)
    concluded = resolve(policy, reports, content)
    assert concluded == resolve(policy, reports, content)
    _check(policy, reports, images, concluded)
    turned = resolve(policy, reports[::-1], content)
    assert (turned.outcome, turned.action, turned.severity) == (concluded.outcome, concluded.action, concluded.severity)
    assert [rule.id for rule in turned.rules] == [rule.id for rule in concluded.rules]


def _check(policy: Policy, reports: list[Reported], images: tuple[str, ...], concluded: Conclusion) -> None:
    outcome, labels = concluded.outcome, {report.finding.label for report in reports}
    all_certain, found = all(report.certain for report in reports), {r.id for report in reports for r in report.finding.rules}
    ids = [rule.id for rule in concluded.rules]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= found
    if outcome in ("allowed", "not_covered", "allowed_by_exception"):
        assert all_certain
        assert not images
        assert "unknown" not in labels
    if outcome in ("allowed", "not_covered"):
        assert not found
        assert (outcome == "not_covered") == ("none" in labels)
    if outcome == "allowed_by_exception":
        applied = [policy.exception(x) for report in reports for x in report.finding.exceptions]
        assert all(any(exception.waives(rule) for exception in applied) for rule in found)
    if outcome == "violates":
        assert any(report.certain and report.finding.label in ("yes", "exception") for report in reports)
        assert any(evidence.match != "absent" for rule in concluded.rules for evidence in rule.evidence)
        assert not any(policy.rule(rule).review for rule in ids)
        assert concluded.notice == policy.notices.get(ids[0], "")
        assert concluded.action in (policy.rule(ids[0]).action, "escalate")
    else:
        assert concluded.notice == ""
    assert (concluded.severity != "none") == (bool(ids) and outcome in ("violates", "needs_review"))
    assert outcome != "needs_review" or concluded.action == "escalate"
    assert "E2" not in concluded.escalations or concluded.action == "escalate"
    assert outcome != "allowed" or concluded.action == "none" or "E2" in concluded.escalations
