"""Canonical requests, results and events: the one vocabulary inside.

Owns frozen structs that engine, runners and wires share. Must not know any wire's field names, any
library that runs models, or where a request came from.
"""

from turbov2.types.context import Context, Lane
from turbov2.types.embed import EmbedRequest, EmbedResult, Inputs, ItemError, TokenBatch
from turbov2.types.load import Loaded, LoadSpec
from turbov2.types.memory import MemoryEvent, MemoryPlan, Obstacle, PoolStatus, Victim
from turbov2.types.status import ModelStatus, PullProgress, ResidentStatus

__all__ = [
    "Context",
    "EmbedRequest",
    "EmbedResult",
    "Inputs",
    "ItemError",
    "Lane",
    "LoadSpec",
    "Loaded",
    "MemoryEvent",
    "MemoryPlan",
    "ModelStatus",
    "Obstacle",
    "PoolStatus",
    "PullProgress",
    "ResidentStatus",
    "TokenBatch",
    "Victim",
]
