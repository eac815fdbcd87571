"""Contents and a policy for the speed measurements: made up, always fresh, of a known length, a known share of them flagged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from moderator import Content, Policy, load_policy
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import compile_prompt

_WHO = (
    "my sister",
    "the neighbour",
    "our coach",
    "a friend from work",
    "the new teacher",
    "grandpa",
    "the bus driver",
    "my flatmate",
)
_DID = ("baked", "painted", "repaired", "carried", "photographed", "borrowed", "sold", "found", "washed", "measured")
_WHAT = ("a bicycle", "the old piano", "two chairs", "a blue lamp", "the garden fence", "a box of pears", "the radio", "a kite")
_WHEN = (
    "this morning",
    "on Sunday",
    "after lunch",
    "last spring",
    "before the rain",
    "at the market",
    "near the river",
    "in May",
)
_ABUSE = (
    "you are a stupid worthless idiot",
    "shut up you pathetic loser",
    "I will find you and hurt you",
    "nobody likes you, you disgusting pig",
)


def texts(tokens: int, count: Callable[[str], int], seed: int, *, abusive: bool) -> Iterator[str]:
    """Endless texts of about so many tokens, each another one."""
    draw = random.Random(f"{seed} {abusive}")
    while True:
        text = ""
        while count(text) < tokens - 6:
            plain = f"{draw.choice(_WHO)} {draw.choice(_DID)} {draw.choice(_WHAT)} {draw.choice(_WHEN)}"
            text += f"{draw.choice(_ABUSE) if abusive else plain}, {draw.randrange(1000)}. "
        yield text.strip()


def long_policy(tokens: int, tokenizer: ChatTokenizer, family: str) -> Policy:
    """Rules of several shipped policies under one roof, as many as make a prefix of about so many tokens."""
    policies = [load_policy(slug) for slug in ("harassment", "hate", "violence", "spam", "privacy", "dangerous")]
    rules = tuple(rule for policy in policies for rule in policy.rules)
    roof = policies[0]
    best = min(
        (
            roof.replace(title="Community rules", rules=rules[:size], exceptions=roof.exceptions)
            for size in range(4, len(rules) + 1)
        ),
        key=lambda policy: abs(len(tokenizer.prefix(compile_prompt(policy, family).system)) - tokens),
    )
    known = {rule.id for rule in best.rules}
    return best.replace(precedence=tuple(chain for chain in best.precedence if known.issuperset(chain)))


class Mixture:
    """Batches of fresh contents, exactly one in twenty of them flagged by the model itself.

    `flags` judges candidates; it must not be an engine that is measured, whose cache would know the contents.
    """

    def __init__(self, tokens: int, count: Callable[[str], int], flags: Callable[[Sequence[Content]], list[bool]], seed: int):
        self._sources = {flagged: texts(tokens, count, seed, abusive=flagged) for flagged in (False, True)}
        self._pools: dict[bool, list[Content]] = {False: [], True: []}
        self._flags = flags
        self._drawn = 0

    def draw(self, size: int, *, flagged_of: int = 20) -> list[Content]:
        """So many contents; one in `flagged_of` is flagged."""
        return [self._take(index % flagged_of == flagged_of // 2) for index in range(size)]

    def _take(self, flagged: bool, batch: int = 64, patience: int = 50) -> Content:
        for _ in range(patience):
            if self._pools[flagged]:
                return self._pools[flagged].pop()
            drawn = [self._content(next(self._sources[flagged])) for _ in range(batch)]
            for content, said in zip(drawn, self._flags(drawn), strict=True):
                self._pools[said].append(content)
        raise RuntimeError(f"of {batch * patience} contents the model {'flags' if flagged else 'allows'} none")

    def _content(self, text: str) -> Content:
        self._drawn += 1
        return Content(id=f"b{self._drawn:08d}", text=text)
