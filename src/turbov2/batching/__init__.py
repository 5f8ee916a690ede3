"""Admission and batches: which waiting requests share one forward, and when.

Owns the queue in front of one runner. Must not know what a model is, where it runs, or any wire:
it is given a coroutine function that runs a batch.
"""

from turbov2.batching.direct import DirectBatcher
from turbov2.batching.loop import Batcher

__all__ = ["Batcher", "DirectBatcher"]
