"""An engine that plays back a function: for tests, documentation and dry runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from moderator.engines import Completion, EngineDescription
from moderator.prompt import Prompt


class ScriptedEngine:
    """Answers each prompt with what the function returns for it: a whole answer as text, or a `Completion`."""

    def __init__(self, answer: Callable[[Prompt], str | Completion], *, name: str = "scripted"):
        self.name = name
        self.description = EngineDescription(engine=name, model=name, batch=1024)
        self._answer = answer

    def complete(self, prompts: Sequence[Prompt]) -> list[Completion]:
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Completion:
        answer = self._answer(prompt)
        return answer if isinstance(answer, Completion) else Completion(text=answer, whole=True)


def always(label: str = "no", **fields: object) -> Callable[[Prompt], str]:
    """A script that gives every content the same answer."""
    answer = json.dumps({"violates": label, **fields}, ensure_ascii=False, separators=(",", ":"))
    return lambda prompt: answer
