"""A Python provider for promptfoo: the moderator is what is tested, its outcome line is the output.

In a file beside the configuration, which names it as ``file://moderator_provider.py``::

    from moderator.interop.promptfoo import call_api
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from moderator.content import Content
from moderator.errors import DataError, ModeratorError
from moderator.interop.conversations import content_of
from moderator.interop.opening import open_once
from moderator.verdict import Failure, Verdict

PROMPTFOO_KEYS: Final = ("basePath", "workers", "timeout", "pythonExecutable", "linkedTargetId")
"""What promptfoo puts into a provider's configuration, or reads from it, for itself."""


def call_api(prompt: str, options: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Judges the prompt: a text, or a JSON list of chat messages whose last one is judged and whose others are its thread.

    ``options["config"]`` holds ``policy``, ``engine``, ``engine_options`` and what else `Moderator` takes; the moderator is
    opened once for a process and a configuration. ``output`` is the outcome line as an object. A failure, and whatever goes
    wrong, is an ``error``, which promptfoo counts apart from results. It never raises for what is this package's error.
    """
    try:
        settings = _settings(options.get("config") or {})
        moderator = open_once(**settings)
        if len(moderator.policies) > 1:
            raise DataError(f"policy: {len(moderator.policies)} were given\n  a provider has one; add a provider for each")
        outcome = next(iter(moderator.judge_all([_content(prompt)])))
    except ModeratorError as error:
        return {"error": str(error)}
    return _failed(outcome) if isinstance(outcome, Failure) else _response(outcome)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in config.items() if name not in PROMPTFOO_KEYS}
    policy = settings.get("policy")
    if not isinstance(policy, str) or not policy:
        raise DataError("config: no `policy`\n  write `config: {policy: hate, engine: nano}`")
    if policy.endswith(".md"):
        settings["policy"] = str(Path(config.get("basePath") or ".") / policy)
    return settings


def _content(prompt: str) -> Content:
    try:
        messages = json.loads(prompt) if prompt.lstrip().startswith("[") else None
    except ValueError:
        messages = None
    if (
        not isinstance(messages, list)
        or not all(isinstance(one, Mapping) and "role" in one for one in messages)
        or not messages
    ):
        return Content.of(prompt)
    try:
        return content_of(messages)
    except ValueError as error:
        raise DataError(f"prompt: {error}") from None


def _response(verdict: Verdict) -> dict[str, Any]:
    usage = verdict.usage
    return {
        "output": verdict.model_dump(mode="json", by_alias=True),
        "tokenUsage": {
            "total": usage.prompt_tokens + usage.completion_tokens,
            "prompt": usage.prompt_tokens,
            "completion": usage.completion_tokens,
        },
        "latencyMs": round(usage.latency_ms),
        "guardrails": {
            "flagged": verdict.violates,
            "flaggedInput": verdict.violates,
            "reason": ", ".join(rule.id for rule in verdict.rules),
        },
        "metadata": _made_by(verdict),
    }


def _failed(failure: Failure) -> dict[str, Any]:
    return {"error": f"{failure.reason}: {failure.detail}", "metadata": {**_made_by(failure), "reason": failure.reason}}


def _made_by(outcome: Verdict | Failure) -> dict[str, Any]:
    made = outcome.provenance
    return {
        name: getattr(made, name) for name in ("policy", "policy_digest", "prompt_digest", "engine", "model", "adapter_digest")
    }
