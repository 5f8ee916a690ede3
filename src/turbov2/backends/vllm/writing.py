"""One answer while vLLM writes it: tokens to text, when to stop, how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from turbov2.backends.detokenizer import Detokenizer, StopTexts
from turbov2.backends.vllm.server import Choice, Chunk
from turbov2.types import Finish, FinishReason, Written


class Writing:
    """Takes the chunks of one answer."""

    def __init__(
        self,
        detokenizer: Detokenizer,
        stops: StopTexts,
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
        begun: str,
    ) -> None:
        """begun: what the prompt has written of the answer; it is told with the first words."""
        self._detokenizer = detokenizer
        self._stops = stops
        self._on_written = on_written
        self._is_cancelled = is_cancelled
        self._begun = begun
        self._reason: FinishReason | None = None
        self._n_tokens = self._n_cached_tokens = 0
        self._began_ns = time.perf_counter_ns()
        self._first_ns = 0  # when there was a token; 0: not yet

    @property
    def has_ended(self) -> bool:
        """Whether it is known how the answer ended."""
        return self._reason is not None

    def take(self, chunk: Chunk) -> bool:
        """Returns whether nothing more is to be read. What an answer took is told behind its end."""
        for choice in chunk.choices:
            self._take(choice)
        if chunk.usage is not None:
            self._n_cached_tokens = chunk.usage.n_cached_tokens
        if self._stops.has_stopped:
            self._reason = "stop"
            return True
        if not self.has_ended and self._is_cancelled():
            self._reason = "cancelled"
            return True
        return False

    def finish(self, n_prompt_tokens: int) -> Finish:
        """Returns how it ended, once what was held back is told."""
        assert self._reason is not None, "an answer without an end has none. This is a bug."
        if self._reason != "cancelled":
            self._tell(self._stops.add(self._detokenizer.rest()))
            self._tell(self._stops.rest())
        now_ns = time.perf_counter_ns()
        first_ns = self._first_ns or now_ns
        return Finish(
            "stop" if self._stops.has_stopped else self._reason,
            n_prompt_tokens,
            self._n_tokens,
            prompt_ns=first_ns - self._began_ns,
            output_ns=now_ns - first_ns,
            stopped_by=self._stops.stopped_by,
            n_cached_tokens=self._n_cached_tokens,
        )

    def _take(self, choice: Choice) -> None:
        token_ids = choice.token_ids or []
        self._n_tokens += len(token_ids)
        self._first_ns = self._first_ns or (time.perf_counter_ns() if token_ids else 0)
        if choice.finish_reason == "stop":
            token_ids = token_ids[:-1]  # what ends an answer is not of it
        for token_id in token_ids:
            self._tell(self._stops.add(self._detokenizer.add(token_id)))
        if choice.finish_reason in ("stop", "length"):  # others, as "abort", say that vLLM gave it up
            self._reason = "length" if choice.finish_reason == "length" else "stop"

    def _tell(self, text: str) -> None:
        if text:
            self._on_written(self._begun + text)
            self._begun = ""
