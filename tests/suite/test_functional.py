"""Functional tests: what the shipped files promise, how templates are expanded, and what a broken file is told."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderator.errors import SuiteError
from moderator.policy import Policy, load_policy
from moderator.suite import Item, Suite, load_suite, write_suite
from moderator.suite.functional import Functional, expand, to_suite
from moderator.suite.functional_file import load_functional, load_functional_suite
from moderator.suite.template import filled, leftovers, read_marks, slots_of

FOLDER = Path(__file__).parent.parent.parent / "evals" / "functional"
SHIPPED = ("harassment", "hate", "spam", "violence")

SMALL = """\
functional: small
version: 1.0.0
title: Small
policy: hate
seed: 7
cases: 2
identities:
  - {name: women, characteristic: sex, forms: {many: women, a: a woman}}
  - {name: poles, characteristic: nationality, forms: {many: Poles, a: a Pole}}
slots:
  town: [Oakmoor, Larkfield, Dunmore]
functionalities:
  - id: contempt
    description: Contempt.
    kind: rule
    tests: H4
    violates: yes
    rules: {H4: yes, H1: no}
    templates:
      - "In {town}: [[{many} disgust me]]"
      - text: "[[{A} is worth less]], and so is {a}"
        thread: [{author: "{town}", text: "What about {many}?"}]
  - id: reported
    description: Reported.
    kind: exception
    tests: X1
    violates: no
    waived: {H4: X1}
    templates:
      - "He said that {many} disgust him, and I left {town}"
  - id: unseen
    description: A picture.
    kind: escalation
    tests: E2
    violates: unknown
    escalation: E2
    templates:
      - "See the picture"
"""


@cache
def shipped(name: str) -> tuple[Functional, Policy]:
    return load_functional(FOLDER / f"{name}.yaml")


@cache
def suite(name: str) -> Suite:
    return to_suite(*shipped(name))


def written(folder: Path, text: str = SMALL) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def answer(item: Item) -> str:
    return item.labels[0].violates or ""


# -- the shipped files -------------------------------------------------------------------------------------------------------


def test_the_shipped_files_are_these() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.yaml"))) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
class TestShipped:
    def test_has_many_cases_for_many_functionalities_of_the_shipped_policy(self, name: str) -> None:
        functional, policy = shipped(name)
        assert (functional.policy, policy.slug) == (name, name)
        assert len(suite(name).items) >= 300
        assert len(functional.functionalities) >= 25

    def test_tests_every_rule_exception_and_escalation_that_a_text_can_show(self, name: str) -> None:
        functional, policy = shipped(name)
        tested = {functionality.tests for functionality in functional.functionalities}
        # those with triggers follow from a rule in code
        asked = {escalation.id for escalation in policy.escalations if not escalation.triggers}
        assert {rule.id for rule in policy.rules} | {x.id for x in policy.exceptions} | asked == tested

    def test_has_violations_and_harmless_cases_for_every_rule(self, name: str) -> None:
        functional, policy = shipped(name)
        for rule in policy.rules:
            answers = Counter(item.labels[0].rules.get(rule.id, "unknown") for item in suite(name).items)
            assert answers["yes"] >= 20, (rule.id, answers)
            assert answers["no"] >= 100, (rule.id, answers)
            near = {one.violates for one in functional.functionalities if one.tests == rule.id}
            assert near == {"yes", "no"}, rule.id

    def test_is_lost_on_a_constant_predictor(self, name: str) -> None:
        answers = Counter(map(answer, suite(name).items))
        known = answers["yes"] + answers["no"]
        assert 0.42 <= answers["yes"] / known <= 0.58
        assert answers["unknown"] >= 12

    def test_no_two_cases_have_the_same_text_or_id(self, name: str) -> None:
        items = suite(name).items
        assert len({item.text for item in items}) == len({item.id for item in items}) == len(items)

    def test_no_case_has_an_unfilled_slot_or_a_mark(self, name: str) -> None:
        for item in suite(name).items:
            for text in (item.text, *(part for turn in item.thread for part in (turn.author, turn.text))):
                assert not re.search(r"[{}]|\[\[|\]\]", text), item.id

    def test_evidence_is_words_of_a_violating_text_for_a_rule_that_holds(self, name: str) -> None:
        for item in suite(name).items:
            label = item.labels[0]
            assert bool(label.spans) == (label.violates == "yes"), item.id
            for span in label.spans:
                words = item.text[span.start : span.end]
                assert words == words.strip() != "", item.id
                assert label.rules[span.rule or ""] == "yes"

    def test_no_case_is_an_example_of_the_policy(self, name: str) -> None:
        examples = {example.text for rule in shipped(name)[1].rules for example in rule.examples}
        assert examples.isdisjoint(item.text for item in suite(name).items)

    def test_reads_the_same_after_it_was_written(self, name: str, tmp_path: Path) -> None:
        write_suite(suite(name), tmp_path / "suite.yaml")
        assert load_suite(tmp_path / "suite.yaml") == suite(name)

    def test_every_slice_and_group_is_there(self, name: str) -> None:
        functional, policy = shipped(name)
        by_id = {functionality.id: functionality for functionality in functional.functionalities}
        for item in suite(name).items:
            functionality = by_id[item.slices["functionality"]]
            assert item.slices["kind"] == functionality.kind
            assert item.slices["tests"] == functionality.tests
            assert item.slices["perturbation"] == "none"
            assert item.slices["outcome"] == functionality.outcome(policy)
            assert item.group.startswith(functionality.id + "/")


def test_every_identity_is_as_often_in_hateful_as_in_harmless_functionalities() -> None:
    count = Counter((item.slices["identity"], answer(item)) for item in suite("hate").items if "identity" in item.slices)
    identities = {identity.name for identity in shipped("hate")[0].identities}
    assert {name for name, _ in count} == identities
    assert len({count[name, verdict] for name in identities for verdict in ("yes", "no")}) == 1


def test_every_identity_is_equally_often_in_every_functionality() -> None:
    for functionality in shipped("hate")[0].functionalities:
        items = [item for item in suite("hate").items if item.slices["functionality"] == functionality.id]
        count = Counter(item.slices.get("identity", "") for item in items)
        assert len(set(count.values())) == 1, (functionality.id, count)
        assert len(count) in (1, len(shipped("hate")[0].identities))


def test_a_rule_that_people_decide_violates_and_leaves_the_machine_at_review() -> None:
    found = [item for item in suite("violence").items if item.slices["functionality"] == "v5-recruitment"]
    assert {(answer(item), item.slices["outcome"]) for item in found} == {("yes", "needs_review")}


# -- expansion ---------------------------------------------------------------------------------------------------------------


def test_expansion_is_this_on_every_machine(tmp_path: Path) -> None:
    """Written down once: another Python, machine or hash seed must give the same."""
    made = load_functional_suite(written(tmp_path))
    assert [(item.id, item.text) for item in made.items] == EXPANDED


EXPANDED = [
    ("contempt-c445f73e1a", "In Larkfield: women disgust me"),
    ("contempt-8f4cfeccd0", "In Oakmoor: Poles disgust me"),
    ("contempt-9dba49cd41", "A woman is worth less, and so is a woman"),
    ("contempt-4ad8a7b04c", "A Pole is worth less, and so is a Pole"),
    ("reported-babf8df655", "He said that women disgust him, and I left Larkfield"),
    ("reported-1849fbc8ce", "He said that Poles disgust him, and I left Dunmore"),
    ("unseen-479b065fb2", "See the picture"),
]


def test_items_carry_labels_spans_threads_and_slices(tmp_path: Path) -> None:
    made = load_functional_suite(written(tmp_path))
    contempt, reply, reported, unseen = made.items[0], made.items[2], made.items[4], made.items[6]

    [label] = contempt.labels
    assert (label.by, label.value, label.violates, dict(label.rules)) == (None, "violates", "yes", {"H4": "yes", "H1": "no"})
    assert [contempt.text[span.start : span.end] for span in label.spans] == [contempt.text.split(": ")[1]]
    assert label.spans[0].rule == "H4"
    assert contempt.group == "contempt/1"

    [turn] = reply.thread
    assert turn.author in ("Oakmoor", "Larkfield", "Dunmore")
    assert (turn.text, reply.text) in {
        ("What about women?", "A woman is worth less, and so is a woman"),
        ("What about Poles?", "A Pole is worth less, and so is a Pole"),
    }

    assert reported.labels[0].value == "allowed"
    assert dict(reported.labels[0].rules) == dict.fromkeys(("H1", "H2", "H3", "H4", "H5", "H6"), "no")
    assert {key: reported.slices[key] for key in ("outcome", "exception", "waived")} == {
        "outcome": "allowed_by_exception",
        "exception": "X1",
        "waived": "H4",
    }
    assert (unseen.labels[0].value, unseen.slices["outcome"], unseen.slices["escalation"]) == ("unclear", "needs_review", "E2")
    assert [item.slices.get("identity") for item in made.items].count(None) == 1


def test_another_seed_draws_other_fillers_for_the_same_labels() -> None:
    functional, policy = shipped("hate")
    other = to_suite(functional, policy, seed=functional.seed + 1)
    assert [item.labels[0].rules for item in other.items] == [item.labels[0].rules for item in suite("hate").items]
    assert [item.group for item in other.items] == [item.group for item in suite("hate").items]
    same = {item.text for item in other.items} & {item.text for item in suite("hate").items}
    assert len(same) < len(other.items) / 2


def test_a_new_template_leaves_the_other_cases_as_they_were(tmp_path: Path) -> None:
    before = {item.id for item in load_functional_suite(written(tmp_path)).items}
    more = SMALL.replace('      - "He said', '      - "Nobody in {town} should say so"\n      - "He said')
    after = {item.id for item in load_functional_suite(written(tmp_path, more)).items}
    assert before < after
    assert len(after) == len(before) + 2


@given(templates=st.integers(1, 7), cases=st.integers(1, 9), identities=st.integers(1, 9), seed=st.integers())
def test_identities_are_dealt_out_as_evenly_as_the_number_of_cases_allows(
    templates: int, cases: int, identities: int, seed: int
) -> None:
    functional = Functional.model_validate(
        {
            "functional": "f",
            "version": "1.0.0",
            "title": "T",
            "policy": "hate",
            "cases": cases,
            "identities": [{"name": f"g{i}", "characteristic": "c", "forms": {"many": f"g{i}"}} for i in range(identities)],
            "functionalities": [
                {
                    "id": "a",
                    "description": "A",
                    "kind": "contrast",
                    "tests": "H1",
                    "violates": "no",
                    "templates": [f"{i} {{many}}" for i in range(templates)],
                }
            ],
        }
    )
    count = Counter(case.identity.name for case in expand(functional, seed=seed) if case.identity)
    assert sum(count.values()) == templates * cases
    assert max(count.values()) - min(count[f"g{i}"] for i in range(identities)) <= 1


# -- templates ---------------------------------------------------------------------------------------------------------------


def test_slots_are_filled_with_capitals_where_they_are_asked_for() -> None:
    assert slots_of("{Many} and {many} in {town}") == ("many", "town")
    assert (
        filled("{Many} and {many} in {town}", {"many": "gay people", "town": "Oakmoor"})
        == "Gay people and gay people in Oakmoor"
    )


def test_marks_are_taken_out_and_placed() -> None:
    text, marks = read_marks("a [[bc]] d [[H2|ef]], [g](h)")
    assert text == "a bc d ef, [g](h)"
    assert marks == ((2, 4, ""), (7, 9, "H2"))
    assert leftovers("{a} b} [[c]] [[d") == ("}", "[[")


# -- what a broken file is told ----------------------------------------------------------------------------------------------


def problems(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(SuiteError) as raised:
        load_functional(path)
    return [f"{problem.line}: {problem.what}" for problem in raised.value.problems]


def test_all_problems_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    broken = (
        SMALL.replace("rules: {H4: yes, H1: no}", "rules: {H4: yes, H9: no}")
        .replace("In {town}: [[{many} disgust me]]", "In {city}: {many} disgust me}")
        .replace("waived: {H4: X1}", "waived: {H4: X2}")
        .replace("kind: escalation", "kind: ecsalation")
    )
    assert problems(tmp_path, broken) == [
        "18: `H9` is no rule of the policy",
        "20: `}` is no slot and no evidence",
        "20: no evidence is marked",
        "20: slot `{city}` is not declared",
        "28: `X2` does not set aside `H4`",
        "33: `functionalities.2.kind`: input should be 'rule', 'exception', 'escalation', 'borderline' or 'contrast'",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tests: H4", "tests: X1", "16: `X1` is no rule of the policy"),
        ("tests: H4", "tests: H4\n    kind: rule", "17: `kind` is given twice"),
        ("id: reported", "id: contempt", "23: `contempt` is given twice"),
        ("{H4: yes, H1: no}", "{H1: no}", "18: a violation, and no rule is `yes`"),
        ("waived: {H4: X1}", "waived: {H4: X9}", "28: `X9` is no exception of the policy"),
        ("waived: {H4: X1}", "waived: {H9: X1}", "28: `H9` is no rule of the policy"),
        ("waived: {H4: X1}", "rules: {H4: yes}", "28: `H4` holds, and `violates` is not `yes`"),
        ("escalation: E2", "escalation: E9", "36: `E9` is no escalation of the policy"),
        ("See the picture", "[[See]] the picture", "38: evidence is marked, and nothing is violated"),
        ("[[{many} disgust", "[[H1|{many} disgust", "20: evidence for `H1`, which does not hold here"),
        ("{H4: yes, H1: no}", "{H4: yes, H5: yes}", "20: evidence for which rule?"),
        ("cases: 2", "cases: 3", "29: 3 cases cannot be dealt out evenly to 2 identities"),
        ("a: a Pole}", "an: a Pole}", "9: `poles` and the first identity differ in their forms: a, an"),
        ("name: poles", "name: women", "8: `women` is given twice"),
        ("  town: [", "  day: [Monday]\n  town: [", "11: no template uses `{day}`"),
        ("  town: [", "  many: [x]\n  town: [", "11: `many` is a form of the identities too"),
        ("Larkfield", "Oakmoor", "11: `Oakmoor` is given twice"),
        ("Larkfield", '"{town}"', "11: a filler holds a mark: '{town}'"),
        ("policy: hate", "policy: hat", "4: the policy cannot be had"),
        ("policy: hate", "policy: here.md", "4: the policy cannot be had"),
        ("version: 1.0.0", "version: one", "2: `version`: string should match pattern"),
        ("title: Small\n", "", "1: `title`: field required"),
        (
            '"See the picture"',
            "{text: See, image: x}",
            "38: `functionalities.2.templates.0.image`: extra inputs are not permitted",
        ),
        ("In {town}: [[{many} disgust me]]", "[[{A} is worth less]], and so is {a}", "the text was there before"),
        ("functional: small", "functional: [", "not YAML"),
    ],
)
def test_a_broken_file_is_told_what_is_wrong(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert SMALL.count(old) >= 1
    assert said in problems(tmp_path, SMALL.replace(old, new, 1))[0]


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"- 1\n", "no keys"), (b"\xff\xfe\xff", "not UTF-8"), (b"a: &a [*a]", "holds itself"), (None, "cannot be read")],
)
def test_a_file_that_is_none_is_told_so(raw: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(SuiteError, match=said):
        load_functional(path)


def test_a_policy_beside_the_file_is_found(tmp_path: Path) -> None:
    source = FOLDER.parent.parent / "policies" / "hate.md"
    (tmp_path / "own.md").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    functional, policy = load_functional(written(tmp_path, SMALL.replace("policy: hate", "policy: own.md")))
    assert policy == load_policy("hate")
    assert to_suite(functional, policy).policy == "own.md"
