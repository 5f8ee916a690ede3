"""Texts longer than a model reads, embedded in overlapping windows when a request asks for it."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from turbov2.batching import JobResult
from turbov2.errors import InvalidRequest, TurboError
from turbov2.types import DENSE, EmbedRequest, Inputs

if TYPE_CHECKING:
    from turbov2.types.embed import FloatVector

Run = Callable[[Sequence[str]], Awaitable[JobResult]]
Window = tuple[int, str]  # the input it is of, and its text

_PLACE = re.compile(r"^input \d+: ")  # what a batcher puts before an error of one of several inputs
_OVERLAP = 0.1  # of a window, which the next begins with: what one cuts in two stands whole in the other
_FILL = 0.8  # of the tokens a model reads, to aim at: a text's characters a token vary along it


def check_windows(request: EmbedRequest) -> None:
    """Raises: InvalidRequest when windows have no meaning for what is asked."""
    if any(not isinstance(text, str) for text in request.inputs):
        raise InvalidRequest("windows are cut from texts: send texts, not token ids", param="windows")
    if request.outputs != DENSE.outputs:
        raise InvalidRequest("windows give dense vectors only: leave out `outputs`", param="windows")


async def embed_windows(run: Run, inputs: Inputs, first: JobResult) -> tuple[JobResult, dict[int, int]]:
    """Returns `first` with whole texts' vectors where it had cut off an end, and these inputs' windows.

    A vector is the mean of its windows' raw vectors, weighted by their tokens. A window that still proves too
    long is halved. Raises: what `run` raises.
    """
    long = np.flatnonzero(first.full_lengths > first.lengths).tolist()
    means = {row: _Mean(first.vectors.shape[1]) for row in long}
    waiting = [(row, window) for row in long for window in cut(str(inputs[row]), _n_windows(first, row))]
    results = [first]
    while waiting:
        results.append(await run([text for _, text in waiting]))
        waiting = list(_take(waiting, results[-1], means))
    return _merge(results, means), {row: mean.n_windows for row, mean in means.items() if not mean.error}


def cut(text: str, n_windows: int) -> list[str]:
    """Returns overlapping windows of about equal length, cut at spaces where there are any near."""
    near = int(len(text) / n_windows * _OVERLAP)
    inner = [_space_before(text, len(text) * number // n_windows, near) for number in range(1, n_windows)]
    starts = [0, *(_space_before(text, end - near, near) for end in inner)]
    return [text[start:end] for start, end in zip(starts, [*inner, len(text)], strict=True)]


class _Mean:
    """The mean of one input's windows so far."""

    def __init__(self, n_dimensions: int) -> None:
        self.n_tokens = self.n_windows = 0
        self.error: TurboError | None = None
        self._sum = np.zeros(n_dimensions, np.float64)

    def add(self, vector: FloatVector, n_tokens: int) -> None:
        self._sum += vector.astype(np.float64) * n_tokens
        self.n_tokens += n_tokens
        self.n_windows += 1

    def value(self) -> FloatVector:
        return (self._sum / max(self.n_tokens, 1)).astype(np.float32)


def _n_windows(first: JobResult, row: int) -> int:
    return math.ceil(int(first.full_lengths[row]) / (_FILL * int(first.lengths[row])))


def _space_before(text: str, place: int, near: int) -> int:
    """Returns the place behind the last space before `place`, or `place` if none is near."""
    return text.rfind(" ", max(place - near, 0), place) + 1 or place


def _take(waiting: Sequence[Window], result: JobResult, means: Mapping[int, _Mean]) -> Iterator[Window]:
    """Yields the halves of windows that were too long; afterwards the others are in their means."""
    for place, (row, text) in enumerate(waiting):
        if (error := result.errors.get(place)) is not None:
            means[row].error = _of_input(error, row)
        elif result.full_lengths[place] > result.lengths[place] and len(text) > 1:
            yield from ((row, half) for half in cut(text, 2))
        else:
            means[row].add(result.vectors[place], int(result.lengths[place]))


def _of_input(error: TurboError, row: int) -> TurboError:
    """Returns the error of a window as one of its input, whose number it names."""
    message = f"input {row}: one of its windows failed: {_PLACE.sub('', error.message)}"
    return type(error)(message, param=error.param, retry_after_s=error.retry_after_s)


def _merge(results: Sequence[JobResult], means: Mapping[int, _Mean]) -> JobResult:
    first = results[0]
    vectors, lengths, errors = first.vectors.copy(), first.lengths.copy(), dict(first.errors)
    for row, mean in means.items():
        vectors[row], lengths[row] = mean.value(), mean.n_tokens
        if mean.error is not None:
            vectors[row], lengths[row], errors[row] = 0, 0, mean.error
    return replace(
        first,
        vectors=vectors,
        lengths=lengths,
        full_lengths=lengths,
        errors=errors,
        queue_ns=sum(result.queue_ns for result in results),
        tokenize_ns=sum(result.tokenize_ns for result in results),
        inference_ns=sum(result.inference_ns for result in results),
    )
