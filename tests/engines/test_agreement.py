"""The same contents under the same policy through different engines: the same outcomes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import moderator
from moderator.content import Content
from moderator.engines import Engine, close, open_engine
from moderator.judge import Moderator
from moderator.verdict import Failure, Verdict

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore")]

SHIPPED = Path(moderator.__file__).parent / "models" / "nano"
COUNT = 200
LEAST = 0.99
INSULTS = ["You are an idiot, shut up,", "Nobody likes you, stupid liar,", "What a pathetic loser you are,"]
OPENINGS = ["Well,", "Honestly,", "Today", "For me,", "Last night", "As always,", "Hello all,", "In short,", "", "", *INSULTS]
SUBJECTS = [
    "my neighbour",
    "the new bike lane",
    "our club",
    "that film",
    "the council",
    "a friend from Kraków",
    "every seller here",
]
VERBS = ["broke", "welcomed", "forgot", "never mentions", "painted", "is looking for", "cannot stand", "shared"]
OBJECTS = [
    "the old fence",
    "a recipe for 12 people",
    "free tickets",
    "some quiet music",
    "the whole plan",
    "a naïve question",
    "日本 travel tips",
]
ENDINGS = [
    ".",
    "!",
    " :)",
    " \U0001f600",
    ", which surprised nobody.",
    " (again).",
    "\n\nMore tomorrow.",
    ' and said "fine".',
    " <b>why</b>?",
]


def contents() -> list[Content]:
    draw = random.Random(11)
    texts: dict[str, None] = {}
    while len(texts) < COUNT:
        sentences = [
            " ".join(filter(None, [draw.choice(OPENINGS), draw.choice(SUBJECTS), draw.choice(VERBS), draw.choice(OBJECTS)]))
            + draw.choice(ENDINGS)
            for _ in range(draw.choice([1, 1, 1, 2, 4]))
        ]
        texts[" ".join(sentences)] = None
    return [Content.of(text) for text in texts]


@contextmanager
def opened(engine: Engine) -> Iterator[Engine]:
    yield engine
    close(engine)


def judged(engine: Engine) -> list[Verdict | Failure]:
    return list(Moderator("harassment", engine, family="nano").judge_all(contents()))


def rules(outcome: Verdict | Failure) -> Any:
    return [rule.model_dump() for rule in outcome.rules] if isinstance(outcome, Verdict) else outcome.reason


def share(equal: Sequence[bool]) -> float:
    return sum(equal) / len(equal)


@pytest.fixture(scope="module")
def nano() -> str:
    """The embedded model: random weights give no label that is certain, so they agree on nothing worth comparing."""
    return str(SHIPPED)


@pytest.fixture(scope="module")
def local(nano: str) -> list[Verdict | Failure]:
    with opened(open_engine(f"local:{nano}", dtype="float32")) as engine:
        return judged(engine)


def agrees(outcomes: Sequence[Verdict | Failure], expected: Sequence[Verdict | Failure]) -> None:
    pairs = list(zip(outcomes, expected, strict=True))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    same = [isinstance(one, Verdict) and isinstance(two, Verdict) and one.outcome == two.outcome for one, two in pairs]
    same_rules = [rules(one) == rules(two) for one, two in pairs]
    gaps = [
        abs(one.score.value - two.score.value)
        for one, two in pairs
        if isinstance(one, Verdict) and isinstance(two, Verdict) and one.score.value is not None and two.score.value is not None
    ]
    print(f"equal outcome {share(same):.3f}, equal rules and quotes {share(same_rules):.3f}, largest gap {max(gaps):.2g}")
    assert share(same) >= LEAST
    assert share(same_rules) >= LEAST
    assert len(gaps) == COUNT
    assert max(gaps) < 1e-3


def test_the_contents_make_different_outcomes(local: list[Verdict | Failure]) -> None:
    """Or agreement would say little."""
    found = {outcome.outcome for outcome in local if isinstance(outcome, Verdict)}
    assert len(found) > 1
    assert len({outcome.score.value for outcome in local if isinstance(outcome, Verdict)}) > COUNT / 2


def test_nano_agrees_with_local(nano: str, local: list[Verdict | Failure]) -> None:
    with opened(open_engine(f"nano:{nano}")) as engine:
        agrees(judged(engine), local)


def test_vllm_agrees_with_local(nano: str, local: list[Verdict | Failure], open_vllm: Any) -> None:
    with opened(open_vllm(nano)) as engine:
        agrees(judged(engine), local)


def test_a_served_model_agrees_with_local(nano: str, local: list[Verdict | Failure], serve: Any) -> None:
    with serve(nano) as address, opened(open_engine(f"server:{address}")) as engine:
        agrees(judged(engine), local)
