"""Forward: one call of a runner's `embed`, which may be abandoned, and a look at what it gave."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from turbov2.batching.fair import Batch
from turbov2.batching.former import batch_cost
from turbov2.batching.items import Content
from turbov2.batching.jobs import BatchRecord, OomStep, Outcome
from turbov2.errors import InferenceFailed, RunnerCrashed, TurboError
from turbov2.types import EmbedTask, Inputs, OutputKind, Outputs, TokenBatch

logger = logging.getLogger(__name__)


class Computes(Protocol):
    """What a batcher calls of a runner."""

    @property
    def is_alive(self) -> bool:
        """False once nothing it is asked can succeed."""

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the inputs' tokens, cut to what the model reads."""

    async def embed(self, tokens: TokenBatch, task: EmbedTask, *, is_precise: bool = False) -> Outputs:
        """Returns the rows' outputs, raw. `is_precise`: computed in float32 throughout."""

    async def free_caches(self) -> None:
        """Afterwards memory kept for reuse is given back."""


class Abandoned(Exception):
    """Nobody waited for the batch any more."""


class Forward:
    """A batch on its way through the runner, and what there is to report of it."""

    __slots__ = (
        "_call",
        "_is_abandoned",
        "_now_s",
        "_queue_s",
        "batch",
        "cost",
        "lengths",
        "n_not_finite",
        "oom_steps",
        "outcome",
        "taken_s",
    )

    def __init__(self, batch: Batch, now_s: Callable[[], float], *, is_padded: bool) -> None:
        self.batch = batch
        self.lengths = np.fromiter((item.length for item in batch.items), np.int32, len(batch.items))
        self.cost = batch_cost(self.lengths, is_padded=is_padded)
        self.outcome: Outcome = "failed"
        self.n_not_finite = 0
        self.oom_steps: tuple[OomStep, ...] = ()
        self.taken_s = 0.0
        self._queue_s = now_s() - min(item.arrived_s for item in batch.items)
        self._now_s = now_s
        self._call: asyncio.Task[Outputs] | None = None
        self._is_abandoned = False

    def abandon(self) -> None:
        """Afterwards the runner knows that nobody waits for this; said once, it has time to let go."""
        if self._is_abandoned:
            return
        self._is_abandoned = True
        if self._call is not None:
            self._call.cancel()

    async def run(self, runner: Computes, dimensions: int) -> Outputs:
        """Returns what the batch's task asks for, dense vectors `[n, dimensions]` float32.

        Raises: what the runner raises; Abandoned; RunnerCrashed if the runner dropped the call by
        itself; InferenceFailed for what is no TurboError and for a result that does not fit the inputs.
        """
        began_s = self._now_s()
        try:
            outputs = await self._result(runner)
        except (TurboError, Abandoned):
            raise
        except Exception as error:
            logger.exception("a forward failed")
            raise InferenceFailed("the model ran and failed; the server's log says why") from error
        finally:
            self.taken_s = self._now_s() - began_s
        wanted = {kind: len(self.batch.items) for kind in self.batch.task.outputs}
        is_wide = outputs.dense is None or outputs.dense.shape[1] == dimensions
        if (
            got := _n_rows(outputs)
        ) != wanted or not is_wide:  # else a caller would get another one's vectors
            logger.error("the runner gave %s rows where %s were due. This is a bug.", got, wanted)
            raise InferenceFailed("the model's answer does not fit its inputs; the server's log says more")
        return outputs

    def record(self) -> BatchRecord:
        """Returns what metrics and traces want to know."""
        return BatchRecord(
            lane=self.batch.lane.name,
            n_items=len(self.lengths),
            n_tokens=int(self.lengths.sum()),
            cost=self.cost,
            queue_ns=round(self._queue_s * 1e9),
            inference_ns=round(self.taken_s * 1e9),
            outcome=self.outcome,
            is_again=self.batch.is_again,
            n_not_finite=self.n_not_finite,
            oom_steps=self.oom_steps,
        )

    async def _result(self, runner: Computes) -> Outputs:
        call = self._call = asyncio.create_task(
            _embed(runner, self._tokens(), self.batch.task, self.batch.is_precise)
        )
        try:
            await asyncio.wait((call,))
        except asyncio.CancelledError:  # the batcher closes: the call ends first
            self.abandon()
            await asyncio.wait((call,))
            _ = call.cancelled() or call.exception()  # asyncio wants an error seen
            raise
        if call.cancelled():
            raise Abandoned if self._is_abandoned else RunnerCrashed("the model's runner dropped a batch")
        return call.result()

    def _tokens(self) -> TokenBatch:
        items = self.batch.items
        seconds = [item.second_start for item in items if item.second_start is not None]
        return TokenBatch(
            ids=np.concatenate([item.ids for item in items]),
            lengths=self.lengths,
            full_lengths=np.fromiter((item.full_length for item in items), np.int32, len(items)),
            second_starts=np.array(seconds, np.int32) if seconds else None,
        )


async def _embed(runner: Computes, tokens: TokenBatch, task: EmbedTask, is_precise: bool) -> Outputs:
    return await runner.embed(tokens, task, is_precise=is_precise)


def _n_rows(outputs: Outputs) -> dict[OutputKind, int]:
    n_rows: dict[OutputKind, int] = {}
    if outputs.dense is not None:
        n_rows["dense"] = len(outputs.dense)
    if outputs.sparse is not None:
        n_rows["sparse"] = len(outputs.sparse.lengths)
    if outputs.tokens is not None:
        n_rows["tokens"] = len(outputs.tokens.lengths)
    return n_rows


async def call_tokenizer(runner: Computes, contents: Sequence[Content]) -> TokenBatch:
    """Returns the contents' tokens.

    Raises: what the runner raises; RunnerCrashed if it dropped the call by itself; InferenceFailed for
    what is no TurboError and for a result that does not fit.
    """
    try:
        tokens = await runner.tokenize(contents)  # type: ignore[arg-type]  # all texts or all ids
        if len(tokens.lengths) != len(contents):
            raise ValueError(f"got {len(tokens.lengths)} lengths for {len(contents)} inputs. This is a bug.")
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RunnerCrashed("the model's runner dropped a call of its tokenizer") from None
    except TurboError:
        raise
    except Exception as error:
        logger.exception("tokenising failed")
        raise InferenceFailed("the tokenizer failed; the server's log says why") from error
    return tokens


def not_finite_rows(vectors: NDArray[np.float32]) -> list[int]:
    """Returns the rows of `[n, d]` that hold NaN or infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(vectors.sum()):  # NaN and infinity survive a sum
            return []
    rows: list[int] = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
    return rows


def doubtful_rows(outputs: Outputs) -> set[int]:
    """Returns the rows of which any output holds NaN or infinity."""
    bad = set(not_finite_rows(outputs.dense)) if outputs.dense is not None else set()
    ragged: list[tuple[NDArray[np.float32], NDArray[np.int32]]] = []
    if outputs.sparse is not None:
        ragged.append((outputs.sparse.weights[:, None], outputs.sparse.lengths))
    if outputs.tokens is not None:
        ragged.append((outputs.tokens.vectors, outputs.tokens.lengths))
    for values, lengths in ragged:
        owners = np.repeat(np.arange(len(lengths)), lengths)
        bad.update(owners[not_finite_rows(values)].tolist())
    return bad
