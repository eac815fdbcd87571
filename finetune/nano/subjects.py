"""Whether a text is on the subject of a domain though it breaks none of its rules: what inverted policies ask."""

from __future__ import annotations

import re

from finetune.nano.prepare import SUBJECTS, Example

SIGNS = {
    "hate": "muslims?|islam*|jew*|christians?|catholics?|hindus?|religio*|mosque|church|race|racis*|blacks?|whites?|asians?"
    "|africans?|arabs?|latin*|mexicans?|chinese|indians?|immigra*|migrants?|refugees?|foreign*|gays?|lesbians?|lgbt*|trans|queer"
    "|homosexual*|wom[ae]n|girls?|females?|feminis*|disab*|autis*|ethnic*|minorit*",
    "sexism": "wom[ae]n|girls?|females?|feminis*|wife|wives|mothers?|moms?|ladies|lady|she|her"
    "|girlfriends?|daughters?|sisters?|misogyn*|sexis*|gender",
    "harassment": "you|your|you're|youre|ur|u|yourself|@user",
    "toxicity": "you|your|you're|stupid|idiot*|damn|hell|crap|sucks?|trash|dumb|hate",
    "spam": "free|call|text|txt|buy|price|offer|order|shop|sale|win|won|money|pay|cash|link|video|channel|subscri*|check|click"
    "|views?|likes?|visit|follow|service|account|reply|www|http",
}
"""Words of a subject; `*` stands for any ending."""
PATTERNS = {
    domain: re.compile(rf"(?<!\w)(?:{signs.replace('*', chr(92) + 'w*')})(?!\w)", re.IGNORECASE)
    for domain, signs in SIGNS.items()
}


def on_subject(example: Example, domains: frozenset[str]) -> frozenset[str] | None:
    """Those of the domains that the text is on the subject of; None where that cannot be told.

    A template or a pair says its subject itself. A text of a labelled set is on the subject that its set was labelled for if
    a word of that subject is in it; without one it is left out.
    """
    if example.about or example.broken:
        return (example.about | example.domains) & domains
    possible = frozenset(SUBJECTS.get(example.source, ())) & domains
    if not possible:
        return frozenset()
    return frozenset(domain for domain in possible if PATTERNS[domain].search(example.text)) or None
