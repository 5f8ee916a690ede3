"""One answer while llama.cpp writes it: what is told of it, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from turbov2.backends.detokenizer import StopTexts
from turbov2.backends.llama_server.client import QUIET, Piece, Progress
from turbov2.types import Finish, FinishReason, PromptCounted, Written


class Writing:
    """Takes llama.cpp's pieces, whose characters are whole; a stop text may lie across several."""

    def __init__(
        self,
        begun: str,
        stops: StopTexts,
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        """begun: what the prompt has written of the answer; it is told with the first words."""
        self._begun = begun
        self._stops = stops
        self._on_written = on_written
        self._is_cancelled = is_cancelled
        self._reason: FinishReason | None = None
        self._last = Piece()
        self._prompt: PromptCounted | None = None
        self._n_told = 0  # pieces of text; servers of before 2025 count tokens at the end only
        self._began_ns = time.perf_counter_ns()
        self._first_ns = 0  # when there was a token; 0: not yet

    def take(self, piece: Piece) -> bool:
        """Returns whether the answer ends here."""
        if piece is QUIET:
            self._reason = "cancelled" if self._is_cancelled() else None
            return self._reason is not None
        self._last = piece
        self._n_told += bool(piece.content)
        if piece.prompt_progress is not None:
            self._count(piece.prompt_progress)
        if (piece.tokens_predicted or piece.content) and not self._first_ns:
            self._first_ns = time.perf_counter_ns()
        self._tell(self._stops.add(piece.content))
        if self._stops.has_stopped:
            self._reason = "stop"
        elif piece.stop:
            self._reason = "length" if piece.stop_type == "limit" or piece.stopped_limit else "stop"
        elif self._is_cancelled():
            self._reason = "cancelled"
        return self._reason is not None

    def finish(self) -> Finish:
        """Returns how it ended, once what was held back is told."""
        if self._reason is None and self._is_cancelled():
            self._reason = "cancelled"
        if self._reason is None:
            raise RuntimeError("llama.cpp broke an answer off")
        if self._reason != "cancelled":
            self._tell(self._stops.rest())
        now_ns = time.perf_counter_ns()
        first_ns = self._first_ns or now_ns
        return Finish(
            self._reason,
            self._last.tokens_evaluated,
            self._last.tokens_predicted or self._n_told,
            prompt_ns=first_ns - self._began_ns,
            output_ns=now_ns - first_ns,
            stopped_by=self._stops.stopped_by,
            n_cached_tokens=self._prompt.n_cached_tokens if self._prompt else 0,
        )

    def _count(self, progress: Progress) -> None:
        if self._prompt is None:
            self._prompt = PromptCounted(progress.total, progress.cache)
            self._on_written(self._prompt)

    def _tell(self, text: str) -> None:
        if text:
            self._on_written(self._begun + text)
            self._begun = ""
