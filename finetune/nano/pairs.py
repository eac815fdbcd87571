"""The project's own minimal pairs (evals/suites): the train halves as examples, the test halves as texts to keep away from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from finetune.nano.prepare import Example, clean
from finetune.nano.stance import KINDS, SHIPPED
from finetune.nano.templates import grey
from moderator.suite import Item, Suite, open_suite

ROOT = Path(__file__).parents[2]
SUITES, FUNCTIONAL = ROOT / "evals/suites", ROOT / "evals/functional"
DOMAINS = {"self-harm": "selfharm"}
"""The domain of a policy whose slug is another word."""


def suites(folder: Path) -> Iterator[Suite]:
    """The suites in a folder; none where it is missing."""
    return map(open_suite, sorted(folder.glob("*.yaml")))


def agreed(suite: Suite, item: Item) -> str | None:
    """What author and reviewer both say; None where they differ or one is missing."""
    said = {label.by: suite.answer(label) for label in item.labels}
    return said["author"] if "author" in said and said.get("reviewer") == said["author"] else None


def example_of(suite: Suite, item: Item) -> Example | None:
    """A violating text breaks what its rules cover; so does an allowed one with an exception, which excuses it."""
    answer, slug = agreed(suite, item), suite.policy
    domain = DOMAINS.get(slug, slug)
    if answer not in ("yes", "no") or item.thread:
        return None
    exception = item.slices.get("exception", "")
    rules = [rule for label in item.labels if label.by == "author" for rule, told in label.rules.items() if told == "yes"]
    if answer == "no":
        rules = [rule for rule in item.slices.get("waived", item.slices.get("rule", "")).split(",") if rule in SHIPPED]
    base = Example(clean(item.text), "pairs", item.split, about=frozenset({domain}))
    if answer == "no" and not exception:
        return base
    excused = KINDS.get(slug, {}).get(exception, "") if answer == "no" else ""
    if not rules or (answer == "no" and not excused):
        return None
    covered = frozenset().union(*(SHIPPED[rule].covers for rule in rules))
    broken = frozenset(topic for topic in covered if topic.split(".")[0] == domain) or covered
    near = frozenset(topic.split(".")[0] for rule in rules for topic in SHIPPED[rule].covers | SHIPPED[rule].near)
    domains = frozenset(topic.split(".")[0] for topic in broken)
    unsure = (grey(domains) | near) - domains
    return replace(base, broken=broken, unsure=unsure, quotes=quotes_of(item), excused=excused)


def quotes_of(item: Item) -> tuple[str, ...]:
    """The passages that the author marked."""
    spans = [span for label in item.labels if label.by == "author" for span in label.spans]
    return tuple(quote for span in spans if (quote := clean(item.text[span.start : span.end])) in clean(item.text))[:2]


def load_pairs(folder: Path = SUITES) -> list[Example]:
    """The training examples of the own suites."""
    found = (example_of(suite, item) for suite in suites(folder) for item in suite.split("train"))
    return [example for example in found if example]


def held_out(folder: Path = SUITES, functional: Path = FUNCTIONAL) -> Iterator[str]:
    """Texts of the own suites' test halves and of the functional tests."""
    yield from (item.text for suite in suites(folder) for item in suite.split("test"))
    yield from (item.text for suite in suites(functional) for item in suite.items)
