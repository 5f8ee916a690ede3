"""Answers written side by side: one forward gives the next token of all of them, and reads on in prompts."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import torch

from turbov2.backends.huggingface.attention import Slot, part_of, read
from turbov2.backends.torch_models import TorchModel
from turbov2.backends.torch_writing import Cancelled, Writing, heeding

logger = logging.getLogger(__name__)

_PIECE = 512  # tokens of prompts that a step reads
# Beside answers, whose next token waits for them. A CPU takes for 64 about as long as eight answers' step.
_CPU_PIECE_BESIDE = 64
# Chooses of the prompt and the answer so far, `[1, n]`, and the next token's scores, `[1, v]`.
Choose = Callable[[torch.Tensor, torch.Tensor], int]


class Answer:
    """One answer while it is written. ended: when it is, or what it failed of."""

    def __init__(
        self, prompt: Sequence[int], n_tokens: int, choose: Choose, writing: Writing, device: torch.device
    ) -> None:
        """n_tokens: the most that it may have."""
        self.n_ids = len(prompt)
        self.n_read = 0  # of those, whose keys and values are kept
        self.ids = torch.tensor([[*prompt, *[0] * n_tokens]], device=device)
        self.ended: Future[None] = Future()
        self._choose = choose
        self._writing = writing

    @property
    def n_unread(self) -> int:
        """How many of its tokens the model has yet to read."""
        return self.n_ids - self.n_read

    def unread(self, n_tokens: int) -> torch.Tensor:
        """Returns the first of those, `[1, n]`."""
        return self.ids[:, self.n_read : self.n_read + n_tokens]

    def heed(self) -> None:
        """Afterwards it has ended if nobody waits for it any more."""
        if not self.ended.done() and self._writing.heed():
            self.ended.set_result(None)

    def go_on(self, n_read: int, scores: torch.Tensor) -> None:
        """Takes that so many more tokens were read, and the scores, `[1, v]`, of what comes behind them."""
        self.n_read += n_read
        if self.n_read < self.n_ids or self.ended.done():
            return
        try:
            if self._is_last(self._choose(self.ids[:, : self.n_ids], scores)):
                self.ended.set_result(None)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Afterwards it has ended, with this error unless it had before."""
        if not self.ended.done():
            self.ended.set_exception(error)

    def _is_last(self, token: int) -> bool:
        self.ids[0, self.n_ids] = token
        self.n_ids += 1
        return self._writing.take(token) or self.n_ids == self.ids.shape[1]


class Turn(NamedTuple):
    """How much of an answer's tokens a step reads."""

    answer: Answer
    n_tokens: int


class Steps:
    """Writes answers, step by step, in a thread of its own. Between two steps they come and go."""

    def __init__(self, model: TorchModel, slots: Sequence[Slot]) -> None:
        self._model = model
        self._free = [*slots]
        self._slots: dict[Answer, Slot] = {}  # of what is being written, in order of arrival
        self._waiting: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="steps", daemon=True)
        self._thread.start()

    def write(self, answer: Answer) -> None:
        """Returns once the answer has ended. Raises: what it failed of."""
        with self._changed:
            self._waiting.append(answer)
            self._changed.notify()
        answer.ended.result()

    def close(self) -> None:
        """Afterwards nothing is computed any more. No answer may be under way."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with heeding(self._model.module, self._heed), torch.inference_mode():
            while self._come_and_go():
                self._step(self._turns())

    def _come_and_go(self) -> bool:
        """Returns whether there is something to write, once there is; False after `close`."""
        for answer in [each for each in self._slots if each.ended.done()]:
            self._free.append(self._slots.pop(answer))
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._slots or self._is_closed)
            while self._waiting and self._free:
                self._slots[self._waiting.popleft()] = self._free.pop()
        return not self._is_closed

    def _turns(self) -> list[Turn]:
        """Returns what the next step reads: the last token of each answer, and as much of each prompt."""
        n_reading = sum(answer.n_unread > 1 for answer in self._slots)
        is_beside = n_reading < len(self._slots)
        n_piece = _CPU_PIECE_BESIDE if is_beside and self._model.device.type == "cpu" else _PIECE
        n_most = max(1, n_piece // max(1, n_reading))
        return [Turn(answer, min(answer.n_unread, n_most)) for answer in self._slots]

    def _step(self, turns: Sequence[Turn]) -> None:
        try:
            scores = self._scores(turns)
        except Cancelled:
            return
        except Exception as error:
            if len(turns) == 1:
                turns[0].answer.fail(error)
                return
            logger.warning(
                "a step of %d answers failed (%s): each goes alone", len(turns), type(error).__name__
            )
            for turn in turns:
                self._step([turn])
            return
        for turn, row in zip(turns, scores.split(1), strict=True):
            turn.answer.go_on(turn.n_tokens, row)

    def _scores(self, turns: Sequence[Turn]) -> torch.Tensor:
        """Returns the scores of what comes next, a row for each."""
        device = self._model.device
        ids = torch.cat([answer.unread(n_tokens) for answer, n_tokens in turns], 1)
        parts = [part_of(self._slots[answer], answer.n_read, n_tokens, device) for answer, n_tokens in turns]
        with self._model.computing():
            return read(self._model.module, ids, parts)

    def _heed(self, *_: Any) -> None:
        """Raises: Cancelled, from inside the model, once nobody waits for any answer."""
        for answer in self._slots:
            answer.heed()
        if all(answer.ended.done() for answer in self._slots):
            raise Cancelled
