"""Writing under a grammar: which tokens may come next, which must, and when the text is finished.

llguidance is used directly, not through outlines, whose logits processor takes one grammar per batch and cannot force tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from tokenizers import Tokenizer

from moderator.errors import EngineError
from moderator.prompt import Write
from moderator.verdict import Reason

NOT_NUMBERS: Final = "the model's logits are not numbers"


class Grammars:
    """Makes writers for one vocabulary. Building it walks the whole vocabulary: once per engine."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, end: Sequence[int], *, model: str = "model"):
        size = tokenizer.get_vocab_size(with_added_tokens=False)
        if size > vocabulary:
            raise EngineError(f"{model}: the tokenizer has {size} tokens, the model {vocabulary}")
        # llguidance would take a token of its own choice for the end, and then no text could hold that token
        if not end:
            raise EngineError(f"{model}: neither the model nor its tokenizer names a token that ends a text (`eos_token_id`)")
        # a vocabulary of the model is often rounded up; a tokenizer may have got control tokens that the model lacks
        size = max(vocabulary, tokenizer.get_vocab_size(with_added_tokens=True))
        self._tokenizer = LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=list(end))

    def writer(self, task: Write, room: int) -> Writer:
        """A writer for the task that may write at most `room` tokens, whatever the task would allow."""
        return Writer(self._tokenizer, task, room)


class Writer:
    """One text on its way: feed it logits with `choose` until it is `done`.

    `pending` are the tokens that were written since the model last saw any: the chosen one and those that the grammar leaves no
    choice about, which so cost no step of their own.
    """

    def __init__(self, tokenizer: LLTokenizer, task: Write, room: int):
        self._tokenizer = tokenizer
        # level 0: a grammar that does not compile is reported by `is_error`, not on stderr
        self._matcher = LLMatcher(tokenizer, task.grammar, log_level=0)
        self._temperature = task.temperature
        self._random = np.random.default_rng(task.seed)
        self._room = min(task.max_tokens, room)
        self._ended = False
        self.ids: list[int] = []
        self.pending: list[int] = []
        self.problem: Reason | None = None
        self.detail = ""
        self._force()

    @property
    def done(self) -> bool:
        """Whether nothing more is to be written: the text is complete, or there is a problem."""
        return self._ended or self.problem is not None

    @property
    def text(self) -> str:
        """What has been written. Complete UTF-8 unless the text was cut."""
        written: bytes = self._tokenizer.decode_bytes(self.ids)
        return written.decode("utf-8", "replace")

    def take(self) -> list[int]:
        """The pending tokens, which are then no longer pending."""
        taken, self.pending = self.pending, []
        return taken

    def choose(self, logits: NDArray[np.float32]) -> None:
        """Writes the next token, and every token that the grammar then forces."""
        allowed = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8)[: len(logits)] != 0
        if self._failed() or not allowed.any():
            self._stop("engine", "the grammar allows no token")
            return
        if not np.isfinite(logits.max()):
            self._stop("engine", NOT_NUMBERS)
            return
        token = self._pick(np.where(allowed, logits, -np.inf))
        if token in self._tokenizer.eos_tokens:
            self._ended = True
        elif len(self.ids) >= self._room:
            self._cut()
        else:
            self._write([token])
            self._force()

    def _pick(self, logits: NDArray[np.float32]) -> int:
        if self._temperature <= 0:
            return int(logits.argmax())
        weights = np.exp((logits.astype(np.float64) - logits.max()) / self._temperature)
        cumulated = weights.cumsum()
        # side "right": a draw of exactly 0 must not pick a token of weight 0
        return int(np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right"))

    def _force(self) -> None:
        if self._failed():
            return
        forced = self._matcher.compute_ff_tokens()
        fitting = forced[: self._room - len(self.ids)]
        self._write(fitting)
        if len(fitting) < len(forced):
            self._cut()
        elif self._matcher.is_stopped() and not self._failed():
            self._ended = True

    def _write(self, tokens: list[int]) -> None:
        self._matcher.consume_tokens(tokens)
        self.ids += tokens
        self.pending += tokens

    def _cut(self) -> None:
        self._stop("cut", f"the text was not finished after {len(self.ids)} tokens")

    def _failed(self) -> bool:
        if self._matcher.is_error() and self.problem is None:
            self._stop("engine", f"grammar: {self._matcher.get_error().strip().splitlines()[0]}")
        return self.problem is not None

    def _stop(self, problem: Reason, detail: str) -> None:
        if self.problem is None:
            self.problem, self.detail = problem, detail
