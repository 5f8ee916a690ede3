"""A job, from admission to its result: places in the queue, a lease, and a second run after a crash."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec

from turbov2.batching import (
    GenerateJob,
    GenerateResult,
    Job,
    JobResult,
    ListenJob,
    ListenResult,
    LookJob,
    LookResult,
    RunnerLost,
)
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.gates import Gates
from turbov2.engine.held import HeldModel
from turbov2.engine.shelf import weights_key
from turbov2.errors import NotCapable
from turbov2.residency import Residency
from turbov2.types import GenerateTask, ImageNeed, Loaded, Piece, PromptCounted, SpeechNeed

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_LINGER_S = 60.0  # of a model, for the next part of a request that it answers in many
_MAX_CARRIES = 8  # deaths of its runner that a request survives while it only waits
T = TypeVar("T")
Check = Callable[[Loaded], None]  # raises what is wrong with a request, by what the loaded files say


class Running:
    """Runs jobs of one engine's models."""

    def __init__(self, catalog: Catalog, gates: Gates, residency: Residency[HeldModel]) -> None:
        self._keys = {spec.name: weights_key(spec) for spec in catalog}
        self._gates = gates
        self._residency = residency

    async def run(
        self, spec: ModelSpec, job: Job, n_chars: int, keep_alive_s: float | None, check: Check
    ) -> tuple[JobResult, int]:
        """Returns the result and the nanoseconds spent waiting for the model.

        Raises: QueueFull, what `check` raises, what the job's inputs cause.
        """
        result = self._at_once(spec, job, keep_alive_s, check)
        if result is not None:
            return result, 0
        ticket = self._gates.of(spec.name).admit(len(job.inputs), n_chars)
        try:
            return await self._in_turn(spec, job, keep_alive_s, check)
        finally:
            ticket.release()

    def _at_once(
        self, spec: ModelSpec, job: Job, keep_alive_s: float | None, check: Check
    ) -> JobResult | None:
        """Returns the result of what needs no queue: a small request to a model in the loop that is ready.

        Nothing waits, so nothing is admitted; nothing else happens meanwhile, so nothing is leased.
        """
        key = self._keys[spec.name]
        held = self._residency.ready(key)
        if held is None:
            return None
        check(held.loaded)
        result = held.texts.embed_at_once(job)
        if result is not None:
            self._residency.used(key, keep_alive_s)
        return result

    async def image_need(self, spec: ModelSpec, keep_alive_s: float | None) -> tuple[ImageNeed, int]:
        """Returns the pixels the model wants, and the wait until it was loaded.

        Raises: NotCapable for one that is to see by the catalogue and lacks what it takes.
        """
        loaded, load_ns = await self._loaded(spec, keep_alive_s)
        if loaded.image is None:
            raise NotCapable(
                f"the weights of model '{spec.name}' read text alone; put its projector (mmproj*.gguf) "
                "beside them",
                param="model",
            )
        return loaded.image, load_ns

    async def look(
        self, spec: ModelSpec, job: LookJob, n_bytes: int, keep_alive_s: float | None
    ) -> tuple[LookResult, int]:
        """Returns what the model sees and the wait for it. Raises: QueueFull, what the image causes."""
        ticket = self._gates.of(spec.name).admit(1, n_bytes)
        try:
            return await self._leased(spec, keep_alive_s, lambda held: held.calls.look(job))
        finally:
            ticket.release()

    async def generate(
        self,
        spec: ModelSpec,
        job_for: Callable[[Loaded], GenerateJob],
        n_bytes: int,
        keep_alive_s: float | None,
    ) -> tuple[GenerateResult, int]:
        """Returns how the answer ended and the wait for the model. Raises: QueueFull, what the prompt causes.

        job_for: gives the job for the model that is about to write. An answer whose beginning was told is
        not written again, for it would begin otherwise.
        """
        has_begun = False

        async def write(held: HeldModel) -> GenerateResult:
            job = job_for(held.loaded)

            def on_piece(piece: Piece) -> None:
                nonlocal has_begun
                has_begun = has_begun or not isinstance(piece, PromptCounted)
                job.on_piece(piece)

            try:
                return await held.calls.generate(msgspec.structs.replace(job, on_piece=on_piece))
            except RunnerLost as lost:
                if has_begun:
                    raise lost.cause from lost
                raise

        ticket = self._gates.of(spec.name).admit(1, n_bytes)
        try:
            return await self._leased(spec, keep_alive_s, write)
        finally:
            ticket.release()

    async def count(self, spec: ModelSpec, task: GenerateTask, images: Sequence[Pixels], n_bytes: int) -> int:
        """Returns how many tokens a prompt has. Waits for no answer, nor for a place among those that wait.

        Its bytes count as theirs. Raises: QueueFull, what the prompt causes.
        """
        ticket = self._gates.of(spec.name).admit(0, n_bytes)
        try:
            n_tokens, _ = await self._leased(spec, None, lambda held: held.calls.count(task, images))
            return n_tokens
        finally:
            ticket.release()

    @contextmanager
    def staying(self, spec: ModelSpec, n_bytes: int, keep_alive_s: float | None) -> Iterator[None]:
        """Holds a place for a request that asks the model many times, by `speech_need` and `listen`.

        The model stays between its uses, unless others need the room. Raises: QueueFull.
        """
        ticket = self._gates.of(spec.name).admit(1, n_bytes)
        try:
            yield
        finally:
            ticket.release()
            key = self._keys[spec.name]
            if self._residency.ready(key) is not None:
                self._residency.used(key, keep_alive_s)

    async def speech_need(self, spec: ModelSpec) -> tuple[SpeechNeed, int, int]:
        """Returns the sound the model wants, how many calls it answers at a time, and the wait for it."""
        loaded, load_ns = await self._loaded(spec, None, _LINGER_S)
        assert loaded.speech is not None, "what a model is for was checked. This is a bug."
        return loaded.speech, loaded.n_slots, load_ns

    def is_free(self, spec: ModelSpec) -> bool:
        """Returns whether the model, of those that are asked in calls, is loaded and has nothing to do."""
        held = self._residency.ready(self._keys[spec.name])
        return held is not None and held.calls.is_free

    async def listen(self, spec: ModelSpec, job: ListenJob) -> tuple[ListenResult, int]:
        """Returns what the model hears and the wait for it. Raises: what the sound causes."""
        return await self._leased(spec, None, lambda held: held.calls.listen(job), _LINGER_S)

    async def _loaded(
        self, spec: ModelSpec, keep_alive_s: float | None, linger_s: float = 0.0
    ) -> tuple[Loaded, int]:
        """Returns what is true of the model, and the wait until it was loaded."""
        asked_ns = time.perf_counter_ns()
        held = self._residency.ready(self._keys[spec.name])
        if held is None:
            async with self._residency.lease(self._keys[spec.name], spec, keep_alive_s, linger_s) as held:
                pass
        return held.loaded, time.perf_counter_ns() - asked_ns

    async def _in_turn(
        self, spec: ModelSpec, job: Job, keep_alive_s: float | None, check: Check
    ) -> tuple[JobResult, int]:
        """Returns the result and the wait for the model."""
        alone = [job]  # a second run shares no batch

        async def embed(held: HeldModel) -> JobResult:
            check(held.loaded)
            try:
                return await held.texts.embed(alone[0])
            except RunnerLost as lost:
                if lost.was_running:
                    alone[0] = msgspec.structs.replace(job, is_alone=True)
                raise

        return await self._leased(spec, keep_alive_s, embed)

    async def _leased(
        self,
        spec: ModelSpec,
        keep_alive_s: float | None,
        work: Callable[[HeldModel], Awaitable[T]],
        linger_s: float = 0.0,
    ) -> tuple[T, int]:
        """Returns what `work` gave, and the wait for the model.

        When the runner dies, a request that was computing runs once more; one that only waited runs again
        as if nothing had happened.
        """
        load_ns = n_strikes = n_carries = 0
        while True:
            asked_ns = time.perf_counter_ns()
            async with self._residency.lease(self._keys[spec.name], spec, keep_alive_s, linger_s) as held:
                load_ns += time.perf_counter_ns() - asked_ns
                try:
                    return await work(held), load_ns
                except RunnerLost as lost:
                    n_strikes += lost.was_running
                    n_carries += not lost.was_running
                    if n_strikes > 1 or n_carries > _MAX_CARRIES:
                        raise lost.cause from lost
