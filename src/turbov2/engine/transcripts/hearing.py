"""Asking a model that listens, one call after the other, for one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turbov2.batching import ListenJob
from turbov2.catalog import ModelSpec
from turbov2.engine.running import Running
from turbov2.types import Heard, Lane, SpeechNeed, SpeechTask

if TYPE_CHECKING:
    from turbov2.types.audio import Samples


@dataclass
class Hearing:
    """Asks the model, in turn with others, and adds up the times."""

    running: Running
    spec: ModelSpec
    lane: Lane
    key_id: str
    load_ns: int = 0
    queue_ns: int = 0
    inference_ns: int = 0

    async def __call__(self, task: SpeechTask, samples: Samples) -> Heard:
        """Returns what the model hears, when its turn has come."""
        job = ListenJob(samples, task, self.lane, self.key_id)
        found, load_ns = await self.running.listen(self.spec, job)
        self.load_ns += load_ns
        self.queue_ns += found.queue_ns
        self.inference_ns += found.inference_ns
        return found.heard

    async def need(self) -> tuple[SpeechNeed, int]:
        """Returns what the loaded model wants of sound, and how many calls it answers at a time."""
        need, n_slots, load_ns = await self.running.speech_need(self.spec)
        self.load_ns += load_ns
        return need, n_slots
