"""What a set did not ask about is left open where words in the text make a "no" unsafe: slurs, oaths, self-harm."""

from __future__ import annotations

import re
from dataclasses import replace

from finetune.nano.prepare import Example
from finetune.nano.stance import WORDS

SIGNS = {
    topics: re.compile(
        rf"(?<!\w)(?:{'|'.join(re.escape(word).replace(re.escape('*'), chr(92) + 'w*') for word in words)})(?!\w)",
        re.IGNORECASE,
    )
    for topics, words in ((tuple(entry["topics"]), entry["words"]) for entry in WORDS["unasked"])
}


def careful(example: Example) -> Example:
    """The example with those topics open that words of it may break and that nobody labelled."""
    found = {topic for topics, signs in SIGNS.items() if signs.search(example.text) for topic in topics}
    labelled = example.broken | example.domains
    unlabelled = {topic for topic in found - labelled if not {topic, topic.split(".")[0]} & example.unsure}
    return replace(example, unsure=example.unsure | unlabelled) if unlabelled else example
