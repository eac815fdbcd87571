"""The same policy in other words, by rules that code can follow.

This is no free paraphrase: a list of synonyms, sentence templates around a rule's text, and another order of its bullets. It
shows whether verdicts hang on the wording of a policy; that they survive it does not show that they would survive an editor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from moderator.policy import Policy, Rule
from moderator.steering.transform import rewritten

SYNONYMS: Final[Mapping[str, str]] = {
    "a person": "an individual",
    "a specific person": "one specific individual",
    "author": "writer",
    "because of": "on account of",
    "buying": "purchasing",
    "calling for": "demanding",
    "describing": "depicting",
    "disaster": "catastrophe",
    "false": "untrue",
    "giving": "providing",
    "illegal": "unlawful",
    "in order to": "so as to",
    "instructions": "directions",
    "many": "numerous",
    "mislead": "deceive",
    "misleads": "deceives",
    "obtain": "get hold of",
    "people": "persons",
    "permission": "authorisation",
    "person": "individual",
    "pretending to be": "posing as",
    "publishing": "making public",
    "saying": "stating",
    "somebody": "someone",
    "such as": "for example",
    "urging": "pressing",
}
"""Written for English policies: words and what may stand in their place without a change of meaning there."""

_WORDS: Final = re.compile(rf"\b({'|'.join(sorted(map(re.escape, SYNONYMS), key=len, reverse=True))})\b", re.IGNORECASE)


def with_synonyms(policy: Policy) -> Policy:
    """Words replaced by their synonyms, in titles and prose."""
    return rewritten(policy, lambda text: _WORDS.sub(_synonym, text))


def with_templates(policy: Policy) -> Policy:
    """Each rule's title and text inside a sentence that adds nothing."""
    return policy.replace(rules=tuple(map(_introduced, policy.rules)))


def with_all(policy: Policy) -> Policy:
    """Synonyms, templates, and the bullets of each list in reverse order."""
    return with_templates(with_synonyms(policy.replace(rules=tuple(map(_reversed, policy.rules)))))


PARAPHRASES: Final[Mapping[str, Callable[[Policy], Policy]]] = {
    "synonyms": with_synonyms,
    "templates": with_templates,
    "synonyms, templates and bullets": with_all,
}


def _synonym(match: re.Match[str]) -> str:
    word = SYNONYMS[match[0].lower()]
    return word[0].upper() + word[1:] if match[0][0].isupper() else word


def _introduced(rule: Rule) -> Rule:
    return rule.replace(title=f"Rule on: {rule.title}", text=f"This rule is about the following. {rule.text}")


def _reversed(rule: Rule) -> Rule:
    return rule.replace(
        violates=rule.violates[::-1], does_not_violate=rule.does_not_violate[::-1], borderline=rule.borderline[::-1]
    )
