"""One answer while a model of transformers writes it: tokens to text, when to stop, how it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers

from turbov2.backends.detokenizer import Detokenizer, StopTexts
from turbov2.backends.torch_models import TorchModel
from turbov2.backends.torch_sampling import LogitsProcessor
from turbov2.types import Finish, FinishReason, Written


class Cancelled(Exception):
    """Raised inside the model while it reads a prompt that nobody waits for any more."""


class Writing:
    """One answer: is told each token, tells its text, and says when it has ended."""

    def __init__(
        self,
        detokenizer: Detokenizer,
        stops: StopTexts,
        end_ids: Collection[int],
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
        begun: str = "",
    ) -> None:
        """begun: what the prompt has written of the answer; it is told with the first words."""
        self._begun = begun
        self._detokenizer = detokenizer
        self._stops = stops
        self._end_ids = end_ids
        self._on_written = on_written
        self._is_cancelled = is_cancelled
        self._was_cancelled = self._has_ended = False
        self._n_tokens = 0
        self._began_ns = self._first_ns = time.perf_counter_ns()

    def take(self, token_id: int) -> bool:
        """Returns whether the answer ends with this token, its next."""
        if not self._n_tokens:
            self._first_ns = time.perf_counter_ns()
        self._n_tokens += 1
        self._has_ended = token_id in self._end_ids
        if not self._has_ended:
            self._tell(self._stops.add(self._detokenizer.add(token_id)))
        return self._has_ended or self._stops.has_stopped or self.heed()

    def heed(self) -> bool:
        """Returns whether nobody waits any more; then it ends here."""
        self._was_cancelled = self._was_cancelled or self._is_cancelled()
        return self._was_cancelled

    def finish(self, n_prompt_tokens: int, n_tiles: int, prepare_ns: int) -> Finish:
        """Returns how it ended, once what was held back is told. prepare_ns: until the model began."""
        if not self._was_cancelled:
            self._tell(self._stops.add(self._detokenizer.rest()))
            self._tell(self._stops.rest())
        return Finish(
            self._reason(),
            n_prompt_tokens,
            self._n_tokens,
            n_tiles,
            prompt_ns=prepare_ns + self._first_ns - self._began_ns,
            output_ns=time.perf_counter_ns() - self._first_ns,
            stopped_by=self._stops.stopped_by,
        )

    def _reason(self) -> FinishReason:
        if self._has_ended or self._stops.has_stopped:
            return "stop"
        return "cancelled" if self._was_cancelled else "length"

    def _tell(self, text: str) -> None:
        if text:
            self._on_written(self._begun + text)
            self._begun = ""


class _Streamer:
    """Told by transformers' `generate` of each token, and asked after it whether to stop."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._has_prompt = self._is_last = False

    def put(self, ids: torch.Tensor) -> None:
        """Takes the prompt, then each token, `[1]`."""
        if self._has_prompt:
            self._is_last = self._writing.take(int(ids[0]))
        self._has_prompt = True

    def end(self) -> None:
        """Does nothing: how it ended is the writing's to say."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Returns `[1]` bool: whether this token was the last."""
        return torch.full((len(input_ids),), self._is_last, dtype=torch.bool, device=input_ids.device)

    def check(self, *_: Any) -> None:
        """Raises: Cancelled, from inside the model, as soon as nobody waits."""
        if self._writing.heed():
            raise Cancelled


def write(
    model: TorchModel,
    inputs: Mapping[str, torch.Tensor],
    writing: Writing,
    config: transformers.GenerationConfig,
    processors: Sequence[LogitsProcessor],
    seed: int | None,
) -> None:
    """Afterwards `writing` was told a whole answer, or what there was of it when nobody waited any more.

    inputs: on the model's device. processors: what changes the scores of the next token, before chance.
    """
    streamer = _Streamer(writing)
    with (
        model.computing(),
        heeding(model.module, streamer.check),
        contextlib.suppress(Cancelled),
    ):
        _seed(seed)
        model.module.generate(
            **inputs,
            generation_config=config,
            logits_processor=transformers.LogitsProcessorList(processors),
            streamer=streamer,
            stopping_criteria=transformers.StoppingCriteriaList([streamer]),
        )


@contextlib.contextmanager
def heeding(module: torch.nn.Module, check: Callable[..., None]) -> Iterator[None]:
    """Inside, every layer of the model calls `check` before it computes.

    Reading a page takes seconds, on a CPU a minute, and nothing else can stop it without the model.
    """
    layers = [layer for each in module.modules() if isinstance(each, torch.nn.ModuleList) for layer in each]
    hooks = [layer.register_forward_pre_hook(check) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _seed(seed: int | None) -> None:
    """Afterwards chance repeats for a seed; without one, no process repeats another's."""
    if seed is None:
        torch.seed()
    else:
        torch.manual_seed(seed % (1 << 63))
