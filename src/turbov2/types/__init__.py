"""Canonical requests, results and events: the one vocabulary inside.

Owns frozen structs that engine, runners and wires share. Must not know any wire's field names, any
library that runs models, or where a request came from.
"""

from turbov2.types.context import Context, Lane
from turbov2.types.documents import (
    Block,
    Box,
    Chunk,
    DocumentRequest,
    Judgement,
    PageError,
    PageResult,
    PageRoute,
    PageTimes,
)
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
    TextWord,
)
from turbov2.types.load import Loaded, LoadSpec
from turbov2.types.memory import MemoryEvent, MemoryPlan, Obstacle, PoolStatus, Victim
from turbov2.types.reading import ReadRequest, ReadResult, TextSource
from turbov2.types.rerank import RerankRequest, RerankResult
from turbov2.types.status import ModelStatus, PullProgress, ResidentStatus

__all__ = [
    "PageTimes",
    "PageRoute",
    "PageResult",
    "PageError",
    "Judgement",
    "DocumentRequest",
    "Chunk",
    "Box",
    "Block",
    "DENSE",
    "ClassifyRequest",
    "ClassifyResult",
    "ClassifyTask",
    "Complexity",
    "Context",
    "EmbedRequest",
    "EmbedResult",
    "EmbedTask",
    "ImageNeed",
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
    "PullProgress",
    "ReadPage",
    "ReadRequest",
    "ReadResult",
    "ReadTask",
    "RerankRequest",
    "RerankResult",
    "ResidentStatus",
    "Seen",
    "SparseRows",
    "TextLine",
    "TextSource",
    "TextWord",
    "TokenBatch",
    "TokenVectors",
    "Victim",
]
