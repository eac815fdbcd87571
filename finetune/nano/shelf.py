"""Contents that the first layers read once, to be put behind any policy afterwards.

The first layers hardly attend to the policy (see `lessons.aside_loss`), so what they make of a content behind one policy stands
for what they make of it behind another, and the layers above can be trained on pairs of the two at a third to a half of the
price.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

from finetune.nano import augment, network, packing, policies
from finetune.nano.pools import TRUST, need
from finetune.nano.prepare import SUBJECTS, Example
from finetune.nano.stance import Ruling, Stance, judge
from finetune.nano.topical import About, Closeness, Finder
from moderator.engines.chat import ChatTokenizer
from moderator.prompt import load_family

LOOKED_AT, ON_TOPIC = 500, 40
"""How many contents are judged under a policy to find those that are put behind it; how many more for each topic."""
SHARES = {"shipped": 0.5, "edited": 0.25, "written": 0.15, "merged": 0.1}
"""The kinds of policies behind which more texts of the sets are read."""
PATIENCE = 200
"""After so many policies under which nothing was settled, nothing more will be."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A content, up to where its label is read, and the states of its tokens (tokens, width; bfloat16)."""

    row: packing.Row
    states: torch.Tensor

    @property
    def example(self) -> Example:
        return self.row.example


def fill(
    config: dict,
    decoder: LlamaForCausalLM,
    chat: ChatTokenizer,
    examples: Sequence[Example],
    plain: Sequence[str],
    everyday: Sequence[str],
    closeness: Closeness,
) -> list[Volume]:
    """Contents as training draws them, more texts of some sets, and some that break nothing (`everyday`), read.

    `plain`: unlabelled texts, for topical rules.
    """
    draw, family = random.Random(config["seed"]), load_family("nano")
    pools = augment.Pools(examples, draw, config["caps"], plain)
    drawn = {name: config[name] for name in ("group", "elsewhere", "shares")} | {"reasoned": 0.0, "cut": 1.0, "twins": 0.0}
    groups = augment.groups(draw, pools, policies.shipped(), family, drawn, closeness)
    found = read(decoder, chat, itertools.islice(groups, config["policies"]), config["depth"], config["longest"])
    known = {volume.example.text for volume in found}
    more = of_sets(draw, [example for example in examples if example.text not in known], config["sets"])
    concerned = concerning(draw, more, config["group"], closeness)
    calm = [Example(text, "everyday") for text in everyday]
    judged_alike = itertools.chain(concerned, behind_any(draw, calm, config["group"], closeness))
    groups = (augment.group_of(draw, stance, judged, family, 0.0, 1.0) for stance, judged in judged_alike)
    return [*found, *read(decoder, chat, groups, config["depth"], config["longest"])]


def of_sets(draw: random.Random, examples: Sequence[Example], sizes: Mapping[str, int]) -> list[Example]:
    """At most so many examples of each set, in any order."""
    by_set = {source: [example for example in examples if example.source == source] for source in sizes}
    chosen = [example for source, some in by_set.items() for example in draw.sample(some, min(sizes[source], len(some)))]
    return draw.sample(chosen, len(chosen))


def concerning(
    draw: random.Random, examples: Sequence[Example], size: int, closeness: Closeness
) -> Iterator[tuple[Stance, list[tuple[Example, Ruling]]]]:
    """The examples, each once behind a policy of its domains under which the labels settle something, at most `size` behind
    one; what no policy settles is left out in the end."""
    left, idle = list(examples), 0
    while left and idle < PATIENCE:
        stance = policies.draw_stance(draw, policies.shipped(), SHARES, closeness)
        settled = ((example, judge(stance, example)) for example in left[:LOOKED_AT] if concerns(stance, example))
        judged = list(itertools.islice(((example, ruling) for example, ruling in settled if ruling), size))
        taken = {id(example) for example, _ in judged}
        left = [*left[LOOKED_AT:], *(example for example in left[:LOOKED_AT] if id(example) not in taken)]
        idle = 0 if judged else idle + 1
        if judged:
            yield stance, judged


def behind_any(
    draw: random.Random, examples: Sequence[Example], size: int, closeness: Closeness
) -> Iterator[tuple[Stance, list[tuple[Example, Ruling]]]]:
    """The examples, so many behind each policy, where the labels settle something."""
    for start in range(0, len(examples), size):
        stance = policies.draw_stance(draw, policies.shipped(), SHARES, closeness)
        judged = [(one, ruling) for one in examples[start : start + size] if (ruling := judge(stance, one))]
        if judged:
            yield stance, judged


def concerns(stance: Stance, example: Example) -> bool:
    """Whether the policy is about what the text breaks, or what its set was labelled for."""
    return bool((example.domains | example.about | set(SUBJECTS.get(example.source, ()))) & stance.touched)


@torch.no_grad()
def read(
    decoder: LlamaForCausalLM, chat: ChatTokenizer, groups: Iterable[augment.Group], depth: int, longest: int
) -> list[Volume]:
    """The contents of the groups, read by the first `depth` layers, each behind the policy of its group."""
    found: list[Volume] = []
    for group in groups:
        asked = packing.ask(chat, [item.prompt for item in group.items])
        rows = [packing.encode_row(chat, ids, item) for ids, item in zip(asked, group.items, strict=True)]
        _, past, _ = network.forward(decoder, torch.tensor([chat.prefix(group.system)]), None, depth)
        for batch in packing.batches([row for row in rows if len(row.ids) <= longest], 2048):
            states = network.forward(decoder, packing.padded(batch), past, depth)[0][-1].to(torch.bfloat16)
            for row, one in zip(batch, states, strict=True):
                upto = row.read + 1
                asking = packing.Row(row.ids[:upto], (0,) * upto, row.read, (), row.example)
                found.append(Volume(asking, one[:upto].clone()))
    return found


BESIDE = 0.33
"""Of what breaks no rule: the share that breaks others of the same domains, and the share from where violations come from."""


Sides = dict[str, dict[str, list[tuple[Volume, Ruling]]]]


class Shelf:
    """Volumes to draw from, so that under every policy and for every source about half of them break a rule."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self.volumes = volumes
        self.finder = Finder([volume.example.text for volume in volumes])
        self.calm = {volume.example.source for volume in volumes} - {
            volume.example.source for volume in volumes if volume.example.broken
        }
        """Sources that break nothing."""
        self.signs: dict[str, Counter[str]] = defaultdict(Counter)
        """By source, how often each label was given so far."""

    def sample(self, draw: random.Random, size: int) -> torch.Tensor:
        """States (size, width) to learn what they are like: half of them where labels are read, half anywhere."""
        some = draw.choices(self.volumes, k=size)
        places = [-1 if index % 2 else draw.randrange(len(one.states)) for index, one in enumerate(some)]
        return torch.stack([one.states[place] for one, place in zip(some, places, strict=True)]).float()

    def draw(self, draw: random.Random, stance: Stance, size: int, share: float) -> list[tuple[Volume, Ruling]]:
        """At most `size` contents with what follows under the policy, about the given share of them breaking a rule."""
        sides, found = self._sides(draw, stance), []
        violating = list(sides["breaks"])
        for _ in range(size):
            breaks, roll = draw.random() < share, draw.random()
            # of what breaks nothing a third breaks other rules on the same subjects, which only reading a rule can tell,
            side = sides["breaks" if breaks else "beside" if roll < BESIDE and any(sides["beside"].values()) else "keeps"]
            # and a third comes from where the violations come from
            names = [name for name in violating if side[name]] if not breaks and roll > 1 - BESIDE else []
            names = names or [name for name in side if side[name]]
            if names:
                some = side[draw.choices(names, [self._weight(name, len(side[name]), breaks) for name in names])[0]]
                volume, ruling = some.pop(draw.randrange(len(some)))
                found.append((volume, ruling))
                self.signs[volume.example.source][ruling.label] += 1
        return found

    def _sides(self, draw: random.Random, stance: Stance) -> Sides:
        """Some contents, by whether they break a rule, others of the same domains (`beside`), or nothing here; by source."""
        places = set(draw.sample(range(len(self.volumes)), min(LOOKED_AT, len(self.volumes))))
        topics = [test.topic for test in stance.tests.values() if isinstance(test, About)]
        places |= {place for topic in topics for _ in range(ON_TOPIC) if (place := self.finder.draw(draw, topic)) is not None}
        sides: Sides = {side: defaultdict(list) for side in ("breaks", "keeps", "beside")}
        for place in sorted(places):
            volume = self.volumes[place]
            if ruling := judge(stance, volume.example):
                beside = volume.example.broken and volume.example.domains & stance.touched
                side = "breaks" if ruling.label in ("yes", "exception") else "beside" if beside else "keeps"
                sides[side][volume.example.source].append((volume, ruling))
        return sides

    def _weight(self, source: str, number: int, breaks: bool) -> float:
        wanted = 1.0 if source in self.calm else need(self.signs[source], "yes" if breaks else "no")
        return number**0.4 * TRUST.get(source, 1.0) * wanted
