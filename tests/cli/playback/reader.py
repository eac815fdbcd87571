"""An engine that reads the policy: it finds in a text what a rule in the prompt names, and knows nothing itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from moderator.engines import Completion
from moderator.engines.scripted import ScriptedEngine
from moderator.prompt import Prompt


def rules(system: str) -> Iterator[tuple[str, bool, list[str]]]:
    """Of each rule its id, whether all of its quoted words are needed, and the words."""
    for found in re.finditer(r"^### (\w+) .*\nNaming (any|all) of (.*)\.$", system, re.MULTILINE):
        yield found[1], found[2] == "all", re.findall(r'"([^"]+)"', found[3])


def answer(prompt: Prompt) -> Completion:
    text = json.loads(prompt.user.rstrip().rsplit("\n", 1)[-1])
    if "broken" in text:
        return Completion(problem="timeout", detail="no answer after 3 s")
    broken = []
    for rule, every, words in rules(prompt.system):
        here = [word for word in words if word in text]
        if len(here) == len(words) if every else here:
            broken.append({"id": rule, "quote": here[0]})
    label = "yes" if broken else "no"
    rest = {"rules": broken, "rationale": "named"} if broken else {}
    return Completion(
        text=json.dumps({"violates": label, **rest}, separators=(",", ":")), whole=True, prompt_tokens=100, completion_tokens=5
    )


class Reader(ScriptedEngine):
    """Answers at once."""

    def __init__(self, name: str = "reader") -> None:
        super().__init__(answer, name=name)
