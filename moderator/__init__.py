"""Policy documents in, structured verdicts out.

>>> from moderator import Moderator
>>> moderator = Moderator("hate")
>>> moderator.judge("good morning").outcome
'allowed'
"""

from moderator.answer import AnswerFormat, Finding
from moderator.answering import Thresholds
from moderator.case import Appeal, Case, Recommendation, Report
from moderator.content import Content, Turn
from moderator.engines import Completion, Engine, EngineDescription, open_engine
from moderator.engines.scripted import ScriptedEngine
from moderator.errors import (
    AnswerError,
    DataError,
    EngineError,
    ModeratorError,
    NoVerdictError,
    PolicyError,
    Problem,
    PromptError,
    SuiteError,
)
from moderator.judge import Moderator
from moderator.policy import Policy, load_policy
from moderator.prompt import CompiledPrompt, Prompt, compile_prompt
from moderator.verdict import Failure, Verdict

__version__ = "0.1.0"

__all__ = [
    "AnswerError",
    "AnswerFormat",
    "Appeal",
    "Case",
    "CompiledPrompt",
    "Completion",
    "Content",
    "DataError",
    "Engine",
    "EngineDescription",
    "EngineError",
    "Failure",
    "Finding",
    "Moderator",
    "ModeratorError",
    "NoVerdictError",
    "Policy",
    "PolicyError",
    "Problem",
    "Prompt",
    "PromptError",
    "Recommendation",
    "Report",
    "ScriptedEngine",
    "SuiteError",
    "Thresholds",
    "Turn",
    "Verdict",
    "compile_prompt",
    "load_policy",
    "open_engine",
]
