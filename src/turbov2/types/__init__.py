"""Canonical requests, results and events: the one vocabulary inside.

Owns frozen structs that engine, runners and wires share. Must not know any wire's field names, any
library that runs models, or where a request came from.
"""

from turbov2.types.context import Context, Lane
from turbov2.types.embed import (
    DENSE,
    EmbedRequest,
    EmbedResult,
    EmbedTask,
    Inputs,
    InputType,
    ItemError,
    OutputKind,
    Outputs,
    Pair,
    SparseRows,
    TokenBatch,
    TokenVectors,
)
from turbov2.types.generate import (
    Finish,
    FinishReason,
    GenerateTask,
    ImagePart,
    PromptMessage,
    Role,
    Sampling,
    TextPart,
    VisionEvent,
    VisionRequest,
    VisionResult,
)
from turbov2.types.images import (
    ClassifyRequest,
    ClassifyResult,
    ClassifyTask,
    Complexity,
    ImageNeed,
    ImageTask,
    ReadPage,
    ReadTask,
    Seen,
    TextLine,
)
from turbov2.types.load import Loaded, LoadSpec
from turbov2.types.memory import MemoryEvent, MemoryPlan, Obstacle, PoolStatus, Victim
from turbov2.types.rerank import RerankRequest, RerankResult
from turbov2.types.status import ModelStatus, PullProgress, ResidentStatus

__all__ = [
    "DENSE",
    "ClassifyRequest",
    "ClassifyResult",
    "ClassifyTask",
    "Complexity",
    "Context",
    "EmbedRequest",
    "EmbedResult",
    "EmbedTask",
    "Finish",
    "FinishReason",
    "GenerateTask",
    "ImageNeed",
    "ImagePart",
    "ImageTask",
    "InputType",
    "Inputs",
    "ItemError",
    "Lane",
    "LoadSpec",
    "Loaded",
    "MemoryEvent",
    "MemoryPlan",
    "ModelStatus",
    "Obstacle",
    "OutputKind",
    "Outputs",
    "Pair",
    "PoolStatus",
    "PromptMessage",
    "PullProgress",
    "ReadPage",
    "ReadTask",
    "RerankRequest",
    "RerankResult",
    "ResidentStatus",
    "Role",
    "Sampling",
    "Seen",
    "SparseRows",
    "TextLine",
    "TextPart",
    "TokenBatch",
    "TokenVectors",
    "Victim",
    "VisionEvent",
    "VisionRequest",
    "VisionResult",
]
