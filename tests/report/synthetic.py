"""A suite of mild spam posts and what two models made of it: large enough for every part of a report, the same every time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from moderator.policy.model import Severity
from moderator.quoting import Match
from moderator.suite import Annotation, Item, Scale, Source, Span, Suite, Targets
from moderator.verdict import Evidence, Failure, FoundRule, Outcome, Provenance, Score, Usage, Verdict

RULES: dict[str, tuple[str, Severity]] = {
    "P1": ("Unsolicited promotion", "low"),
    "P2": ("Phishing", "critical"),
    "P3": ("Prize, money or job scam", "high"),
    "P4": ("Engagement manipulation", "medium"),
    "P5": ("Bulk or repeated posting", "medium"),
    "P6": ("Deceptive link or download", "high"),
}
_BAIT: dict[str, Sequence[str]] = {
    "P1": ("visit my shop for new lamps", "my garden course starts monday", "order candles from my page"),
    "P2": ("confirm your password on this form", "your account closes unless you log in here"),
    "P3": ("you won a free weekend", "earn 900 a day from home", "send a small fee to get the prize"),
    "P4": ("follow me and i follow back", "like and share to win", "vote up all my posts"),
    "P5": ("same message for everyone", "posting this in every group"),
    "P6": ("download the free codec here", "short link to the full video"),
}
_FINE: Sequence[str] = (
    "the train was late again but the coffee was good",
    "does anyone know a quiet place to read near the station",
    "our team met at noon and planted tomatoes",
    "the second chapter is better than the first one",
    "my cat sat on the keyboard for an hour",
    "thank you for the recipe, it worked well",
    "i bought my lamp in a shop downtown and like it",
    "careful: a mail asks people to confirm your password, it is fake",
    "the prize for the best cake went to my aunt",
)
_WEIGHTS = (30, 3, 12, 9, 4, 6)
ANNOTATORS = ("ann", "bo", "cy", "di", "eve")


def suite(n: int = 600, seed: int = 7, targets: Targets | None = None) -> Suite:
    """Half as many training items come with it; a twentieth of the items is labelled by nobody."""
    chance = random.Random(seed)
    items = tuple(_item(chance, number, n) for number in range(n + n // 2))
    return Suite(
        slug="spam-forum",
        version="1.2.0",
        title="Forum posts, spring",
        policy="spam",
        source=Source(
            name="Made-up forum posts",
            licence="CC0-1.0",
            url="https://example.org/posts",
            citation="Nobody (2026), <Posts> & more",
        ),
        scale=Scale(values=("fine", "borderline", "spam"), violates=("spam",)),
        slices=("language", "surface", "length"),
        targets=targets or Targets(metrics={"f1": 0.7, "precision": 0.75, "recall": 0.8}, rules={"P2": {"recall": 0.9}}),
        items=items,
    )


def _item(chance: random.Random, number: int, n: int) -> Item:
    truth = chance.random() < 0.3
    rule = chance.choices(list(RULES), _WEIGHTS)[0] if truth else None
    fine = chance.choice(_FINE)
    said = rule if chance.random() < 0.8 else None  # some violations cannot be told by their words, nor can some of the others
    said = chance.choice(list(RULES)) if not rule and chance.random() < 0.1 else said
    bait = chance.choice(_BAIT[said]) if said else ""
    text = f"{fine}. {bait}! item {number}" if bait else f"{fine}, {chance.choice(_FINE)} {number}"
    start = len(fine) + 2
    return Item(
        id=f"post-{number:04}",
        text=text,
        split="test" if number < n else "train",
        group=f"author-{number // 2}",
        slices={
            "language": chance.choices(("en", "de", "pt"), (8, 3, 1))[0],
            "surface": chance.choice(("post", "comment", "message")),
            "length": "short" if len(text) < 70 else "long",
        },
        labels=() if chance.random() < 0.05 else tuple(_labels(chance, rule, (start, start + len(bait)) if bait else (0, 9))),
    )


def _labels(chance: random.Random, rule: str | None, bait: tuple[int, int]) -> list[Annotation]:
    said = []
    for by in chance.sample(ANNOTATORS, chance.choice((3, 3, 5))):
        spam = chance.random() < (0.88 if rule else 0.07)
        value = "spam" if spam else "borderline" if chance.random() < 0.1 else "fine"
        marked = spam and rule is not None and chance.random() < 0.8
        end = bait[1] - chance.choice((0, 0, 4))
        said.append(
            Annotation(
                by=by,
                value=value,
                rules=({rule: "yes" if spam else "no"} if rule else {}) | {r: "no" for r in RULES if r != rule},
                spans=(Span(start=bait[0], end=end, rule=rule),) if marked else (),
            )
        )
    return said


def provenance(model: str = "small-instruct-1b", policy: str = "sha256:" + "ab" * 32) -> Provenance:
    return Provenance(
        policy="spam@1.0.0",
        policy_digest=policy,
        prompt_digest="sha256:" + "cd" * 32,
        engine="server",
        model=model,
        parameters={"temperature": 0.0, "max_tokens": 256},
    )


def outcomes(
    suite: Suite, skill: float = 0.72, seed: int = 3, model: str = "small-instruct-1b"
) -> dict[str, Verdict | Failure]:
    """For the test split; a higher `skill` errs less. Some failures, some for a person, three items not judged at all."""
    chance = random.Random(seed)
    made = provenance(model)
    judged = {item.id: _outcome(chance, item, skill, made) for item in suite.split("test")}
    for missing in list(judged)[5:8]:
        del judged[missing]
    return judged


def _outcome(chance: random.Random, item: Item, skill: float, made: Provenance) -> Verdict | Failure:
    if chance.random() < 0.02:
        reason = chance.choice(("timeout", "unreadable"))
        return Failure(content_id=item.id, policy="spam", reason=reason, detail="no answer", provenance=made)
    rule = next((rule for label in item.labels for rule, said in label.rules.items() if said == "yes"), None)
    lean = chance.gauss(2.4 if rule else -2.4, 6.8 * (1 - skill))
    p = min(0.999, max(0.001, 1 / (1 + 2.718281828**-lean)))
    outcome: Outcome = "needs_review" if 0.45 < p < 0.55 else "violates" if p >= 0.5 else "allowed"
    cited = rule if rule and chance.random() < 0.85 else chance.choice(list(RULES))
    return Verdict(
        content_id=item.id,
        policy="spam",
        outcome=outcome,
        rules=() if outcome == "allowed" else (_found(chance, item, cited),),
        severity="none" if outcome == "allowed" else RULES[cited][1],
        score=Score(value=round(p, 3), method="label_probability"),
        rationale="" if outcome == "allowed" else f"It reads like {RULES[cited][0].lower()}.",
        provenance=made,
        usage=Usage(prompt_tokens=820, cached_tokens=790, completion_tokens=14, latency_ms=round(chance.uniform(20, 90), 1)),
    )


def _found(chance: random.Random, item: Item, rule: str) -> FoundRule:
    start = item.text.find(". ") + 2 if ". " in item.text else 0
    end = min(len(item.text), start + chance.choice((12, 20, 30)))
    match: Match = "exact" if chance.random() < 0.95 else "absent"
    quote = item.text[start:end] if match == "exact" else "words that are not there"
    place = (start, end) if match == "exact" else (None, None)
    return FoundRule(
        id=rule, severity=RULES[rule][1], evidence=(Evidence(quote=quote, start=place[0], end=place[1], match=match),)
    )
