"""Admission, fair order and batches: which waiting inputs share one forward, and when.

Owns the queue in front of one runner, and the gates before all of them. Must not know what a model is,
where it runs, or any wire: it is given whatever can tokenise and embed.
"""

from turbov2.batching.admission import Gate, Ticket
from turbov2.batching.at_once import answer_at_once
from turbov2.batching.batcher import Batcher
from turbov2.batching.cache import VectorCache
from turbov2.batching.calls import (
    Calls,
    GenerateJob,
    GenerateResult,
    ListenJob,
    ListenResult,
    LookJob,
    LookResult,
)
from turbov2.batching.forward import Computes
from turbov2.batching.jobs import BatchRecord, Job, JobResult, RunnerLost
from turbov2.batching.pace import BatchLimits
from turbov2.batching.probe import SAMPLE, learn_limits
from turbov2.batching.slices import Slices

__all__ = [
    "SAMPLE",
    "BatchLimits",
    "BatchRecord",
    "Batcher",
    "Calls",
    "Computes",
    "Gate",
    "GenerateJob",
    "GenerateResult",
    "Job",
    "JobResult",
    "ListenJob",
    "ListenResult",
    "LookJob",
    "LookResult",
    "RunnerLost",
    "Slices",
    "Ticket",
    "VectorCache",
    "answer_at_once",
    "learn_limits",
]
