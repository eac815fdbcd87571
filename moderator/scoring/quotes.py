"""How the quotes of a run compare with what people marked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from moderator.metrics import (
    Estimate,
    Resampling,
    character_f1_estimate,
    held_out_character_f1,
    iou_f1,
    pairwise_character_f1,
    quote_exactness,
    union,
)
from moderator.scoring.labels import Pair
from moderator.scoring.model import EvidenceScore
from moderator.verdict import Verdict


def exactness(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> Estimate:
    """The share of all quotes that stand in their text word for word; undefined without quotes."""
    quotes = [_quotes(pair) for pair in pairs]
    return quote_exactness([sum(matches) for matches in quotes], [len(matches) for matches in quotes], groups, how)


def evidence(pairs: Sequence[Pair], groups: Sequence[Hashable] | None, how: Resampling) -> EvidenceScore | None:
    """Over the contents where someone marked something; None when there are none.

    A content that was not flagged has no quotes, and scores 0 here. Elsewhere what people would have marked is not known, or
    it is nothing; quoting there is an error of the decision, and counted as that.
    """
    places = [place for place, pair in enumerate(pairs) if any(pair.marked)]
    if not places:
        return None
    marked = [pairs[place] for place in places]
    kept = None if groups is None else [groups[place] for place in places]
    predicted = [pair.spans for pair in marked]
    annotations = [pair.marked for pair in marked]
    several = any(len(each) > 1 for each in annotations)
    held_out = held_out_character_f1(annotations, predicted, groups=kept, how=how) if several else None
    return EvidenceScore(
        n=len(marked),
        annotators=sum(map(len, annotations)) / len(annotations),
        union=character_f1_estimate(predicted, annotations, "union", kept, how),
        majority=character_f1_estimate(predicted, annotations, "majority", kept, how),
        each=character_f1_estimate(predicted, annotations, "each", kept, how),
        iou_f1=iou_f1(predicted, [union(each) for each in annotations], groups=kept, how=how),
        people=pairwise_character_f1(annotations, kept, how) if several else None,
        held_out_human=held_out.human if held_out else None,
        held_out_model=held_out.model if held_out else None,
        held_out_difference=held_out.difference if held_out else None,
    )


def _quotes(pair: Pair) -> list[bool]:
    if not isinstance(pair.outcome, Verdict):
        return []
    return [quote.match == "exact" for rule in pair.outcome.rules for quote in rule.evidence]
