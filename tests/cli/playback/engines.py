"""Engines for the command line to open by their dotted path: real ones, that play back what the text asks for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from moderator.engines import Completion, EngineDescription
from moderator.engines.scripted import ScriptedEngine
from moderator.errors import EngineError
from moderator.prompt import Prompt, ReadLabel


def text_of(prompt: Prompt) -> str:
    """The content, as the default family shows it in the last line."""
    text = json.loads(prompt.user.rstrip().rsplit("\n", 1)[-1])
    assert isinstance(text, str)
    return text


def answer(prompt: Prompt) -> Completion:
    """``buy`` violates the first rule (quoted up to ``!``), ``perhaps`` is uncertain, ``broken`` fails; all else is fine."""
    text = text_of(prompt)
    if "broken" in text:
        return Completion(problem="timeout", detail="no answer after 3 s")
    if isinstance(prompt.task, ReadLabel):
        label = "yes" if "buy" in text else "unknown" if "perhaps" in text else "no"
        labels: dict[str, float] = {name: 0.9 if name == label else 0.02 for name in prompt.task.labels}
        return Completion(labels=labels, prompt_tokens=100, completion_tokens=1)
    if "buy" in text:
        quote = json.dumps(text[text.index("buy") :].partition("!")[0])
        rest = f'"rules":[{{"id":"{prompt.format.rules[0]}","quote":{quote}}}],"exceptions":[],"escalations":[]'
    else:
        rest = '"rules":[],"escalations":[],"missing":["thread"]'
    return Completion(text=f'",{rest},"rationale":"it sells"}}', completion_tokens=20)


class Flags(ScriptedEngine):
    """Answers at once."""

    def __init__(self, name: str = "flags") -> None:
        super().__init__(answer, name=name)


class Slow(Flags):
    """Takes a while for every batch of 16."""

    def __init__(self, seconds: float = 0.01) -> None:
        super().__init__()
        self.seconds = seconds
        self.description = EngineDescription(engine="slow", model="slow", batch=16)

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        time.sleep(self.seconds)
        return super().complete(prompts)


class Dies(Flags):
    """Gives up for good at the first text that says so."""

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        if any("die" in text_of(prompt) for prompt in prompts):
            raise EngineError("dies: gave up\n  start it again")
        return super().complete(prompts)


class Announced(Flags):
    """Says when it is ready."""

    def __init__(self) -> None:
        super().__init__()
        print("ready", file=sys.stderr, flush=True)


class NoEngine:
    """Has no `complete`."""


class NeedsModel(Flags):
    """Cannot be opened without an argument."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
