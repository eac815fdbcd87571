"""What rows are made from: suites, runs and decisions, each with what is known and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderator.case import DecidedRule, Decision
from moderator.content import Content
from moderator.errors import DataError
from moderator.finetuning.gold import from_decisions, from_suite
from moderator.finetuning.lessons import lesson
from moderator.finetuning.sources import open_source
from moderator.policy import write_policy
from moderator.prompt import compile_prompt
from moderator.quoting import locate
from moderator.runs import Selection, execute
from moderator.suite import Annotation, Item, Span, Suite, write_suite
from tests.finetuning.conftest import swearing
from tests.runs.suites import moderator, selling
from tests.small import house, leaning


def decision(text: str, outcome: str, *rules: str, **fields: object) -> Decision:
    named = tuple(DecidedRule(id=rule) for rule in rules)
    return Decision(content=Content.of(text), policy="house", outcome=outcome, rules=named, **fields)


def with_labels(*labels: Annotation) -> Suite:
    item = Item(id="1", text="Robin is a fool, said Alex", labels=labels)
    return swearing(range(2)).model_copy(update={"items": (item,)})


def test_annotators_who_tie_leave_it_unknown() -> None:
    tied = with_labels(Annotation(by="a", value="bad", rules={"H3": "yes"}), Annotation(by="b", value="fine"))
    assert list(from_suite(tied, tied.items, house())) == []


def test_a_rule_that_nobody_named_is_unknown() -> None:
    own = with_labels(Annotation(value="bad", rules={"H3": "yes"}))
    (gold,) = from_suite(own, own.items, house())
    assert dict(gold.rules) == {"H3": "yes"}
    assert not gold.settles(house())


@pytest.mark.parametrize(("start", "end", "quote"), [(11, 15, "fool"), (12, 14, "fool"), (9, 15, "a fool"), (8, 16, "a fool,")])
def test_a_marked_passage_is_quoted_in_whole_words(start: int, end: int, quote: str) -> None:
    own = with_labels(Annotation(value="bad", rules={"H3": "yes"}, spans=(Span(start=start, end=end, rule="H3"),)))
    (gold,) = from_suite(own, own.items, house())
    assert gold.quotes == {"H3": quote}
    assert locate(quote, own.items[0].text).match == "exact"


def test_a_passage_for_no_rule_is_for_the_only_one_broken() -> None:
    span = (Span(start=11, end=15),)
    one = with_labels(Annotation(value="bad", rules={"H3": "yes"}, spans=span))
    two = with_labels(Annotation(value="bad", rules={"H3": "yes", "H1": "yes"}, spans=span))
    assert [gold.quotes for gold in from_suite(one, one.items, house())] == [{"H3": "fool"}]
    assert [gold.quotes for gold in from_suite(two, two.items, house())] == [{}]


def test_a_decision_settles_every_rule() -> None:
    (gold,) = from_decisions([decision("you fool", "violates", "H3", reason="A bad name.")], house(), "monday")
    assert gold.settles(house())
    assert gold.broken == ("H3",)
    assert (gold.violates, gold.reason, gold.exceptions) == ("yes", "A bad name.", ())
    waived = decision("on the market: my wheel", "allowed_by_exception", "H2", exceptions=("X2",))
    (gold,) = from_decisions([waived], house(), "monday")
    assert (gold.violates, gold.broken, gold.exceptions) == ("no", ("H2",), ("X2",))


@pytest.mark.parametrize(
    ("quote", "learned"), [("fool", "fool"), ("FOOL", "fool"), ("oo", "fool"), ("idiot", None), ("", None)]
)
def test_a_reviewer_s_quote_is_learned_as_it_stands_in_the_content(quote: str, learned: str | None) -> None:
    decided = decision("you fool", "violates", "H3")
    picked = decided.model_copy(update={"rules": (DecidedRule(id="H3", quote=quote),)})
    (gold,) = from_decisions([picked], house(), "monday")
    assert gold.quotes.get("H3") == learned


@pytest.mark.parametrize(
    ("outcome", "rules", "exceptions"), [("violates", (), ()), ("allowed", ("H3",), ()), ("allowed_by_exception", ("H2",), ())]
)
def test_decisions_that_contradict_themselves_are_unwritable(
    outcome: str, rules: tuple[str, ...], exceptions: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=outcome):
        decision("x", outcome, *rules, exceptions=exceptions)


def test_a_decision_that_names_what_the_policy_has_not_is_an_error() -> None:
    with pytest.raises(DataError, match="has no 'H9'"):
        list(from_decisions([decision("you fool", "violates", "H9")], house(), "monday"))


def test_a_run_is_learned_under_the_policy_that_it_was_judged_under(tmp_path: Path) -> None:
    """A shipped policy that happens to have its slug is another one."""
    other = house().replace(slug="hate")
    execute(
        [swearing(range(2)).model_copy(update={"policy": "hate"})],
        moderator(other),
        tmp_path / "run",
        selection=Selection(split="all"),
    )
    with pytest.raises(DataError, match="name it with --policy"):
        open_source(tmp_path / "run", None, every=True)


def test_a_file_of_decisions_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "monday.jsonl"
    lines = [decision("you fool", "violates", "H3"), decision("nice spokes", "allowed")]
    path.write_text("".join(line.model_dump_json(by_alias=True) + "\n" for line in lines))
    (tmp_path / "house.md").write_text(write_policy(house()))
    (source,) = open_source(path, tmp_path / "house.md", every=False)
    assert [gold.violates for gold in source.golds] == ["yes", "no"]
    aside = source.aside({source.golds[0].content.id}, tmp_path / "rows.test")
    assert aside is not None
    assert [item.split for item in aside.items] == ["test"]
    assert aside.policy == "../house.md"
    with pytest.raises(DataError, match="name it with --policy"):
        open_source(path, None, every=False)
    path.write_text(lines[0].model_dump_json(by_alias=True) + '\n{"outcome": "violates"}\n')
    with pytest.raises(DataError, match=r"monday\.jsonl:2: not a decision"):
        open_source(path, tmp_path / "house.md", every=False)


def test_decisions_about_other_policies_are_counted_and_not_learned(tmp_path: Path) -> None:
    path = tmp_path / "monday.jsonl"
    about = [decision("you fool", "violates", "H3"), decision("fine", "allowed").model_copy(update={"policy": "market"})]
    (tmp_path / "house.md").write_text(write_policy(house()))
    path.write_text("".join(one.model_dump_json(by_alias=True) + "\n" for one in about))
    (source,) = open_source(path, tmp_path / "house.md", every=False)
    assert (len(source.golds), source.elsewhere) == (1, 1)
    path.write_text(about[1].model_dump_json(by_alias=True) + "\n")
    with pytest.raises(DataError, match=r"no decisions about house\n  they are about market"):
        open_source(path, tmp_path / "house.md", every=False)


def test_only_training_items_may_be_learned_and_the_others_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "house.md").write_text(write_policy(house()))
    own = swearing(range(20)).model_copy(update={"policy": "house.md"})
    write_suite(own, tmp_path / "own.yaml")
    (source,) = open_source(tmp_path / "own.yaml", None, every=False)
    assert {gold.content.id for gold in source.golds} == {item.id for item in own.items if item.split == "train"}
    assert set(source.evaluated) == {item.text for item in own.items if item.split == "test"}
    (every,) = open_source(tmp_path / "own.yaml", None, every=True)
    assert len(every.golds) == 20
    assert every.evaluated == ()


def test_of_a_run_only_answers_that_people_agree_with_are_learned(tmp_path: Path) -> None:
    """A model that finds a sale in every wheel: right on the first, wrong on the second, and the third has no label."""
    labels = {"1": (Annotation(value="bad", rules={"H2": "yes"}),), "2": (Annotation(value="fine"),), "3": ()}
    items = tuple(Item(id=name, text=f"my wheel number {name}", labels=of, split="train") for name, of in labels.items())
    own = swearing(range(2)).model_copy(update={"items": items})
    (tmp_path / "house.md").write_text(write_policy(house()))
    engine = selling(lambda prompt: leaning("yes"))
    execute([own], moderator(house(), engine=engine), tmp_path / "run", selection=Selection(split="train"))
    (source,) = open_source(tmp_path / "run", tmp_path / "house.md", every=False)
    (gold,) = source.golds
    assert (gold.content.id, gold.violates, gold.broken) == ("1", "yes", ("H2",))
    assert gold.quotes == {"H2": "wheel"}
    taught = lesson(compile_prompt(house(), "default"), gold)
    assert taught
    assert taught.whole, "a model's answer is known to its end"
