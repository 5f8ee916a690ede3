"""What a runner and its child say to each other.

Every request carries an `op_id` and gets exactly one answer with that id; pieces come before the answer to
`Generate`. `Hello` answers the spawn itself. Arrays follow a message as buffers; see turbov2.runners.arrays.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from turbov2.errors import TurboError, from_fields
from turbov2.types import EmbedTask, Finish, Heard, ImageTask, Loaded, LoadSpec, Seen, SpeechTask, Written

PROTOCOL_VERSION = 9
HELLO_ID = 0  # the op that `Hello` answers: the spawn
MAX_MESSAGE_CHARS = 4096  # of an error

InputsKind = Literal["texts", "ids", "pairs"]
OpId = Annotated[int, msgspec.Meta(ge=0)]


class _Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    pass


class Hello(_Message, frozen=True):
    """The child is up. First frame it sends; the one message whose fields may never change."""

    version: int
    pid: int
    op_id: OpId = HELLO_ID


class Load(_Message, frozen=True):
    """Load this model. First request, and the only one of its kind."""

    op_id: OpId
    spec: LoadSpec


class LoadedReply(_Message, frozen=True):
    """The model can be used."""

    op_id: OpId
    loaded: Loaded


class Tokenize(_Message, frozen=True):
    """Buffers: texts, pairs = one uint8 msgpack list; ids = int32 flat ids, int32 lengths."""

    op_id: OpId
    kind: InputsKind


class TokensReply(_Message, frozen=True):
    """Buffers: a TokenBatch's ids, lengths, full_lengths and, if it has them, second_starts, all int32."""

    op_id: OpId


class Embed(_Message, frozen=True):
    """Buffers: as TokensReply."""

    op_id: OpId
    task: EmbedTask
    is_precise: bool


class OutputsReply(_Message, frozen=True):
    """Buffers, of the outputs asked for, in this order: dense = float32 `[n, d]`; sparse = int32 token ids,
    float32 weights, int32 lengths; tokens = float32 `[sum(lengths), d]`, int32 lengths.
    """

    op_id: OpId


class Look(_Message, frozen=True):
    """Buffer: uint8 pixels `[h, w * n_channels]`."""

    op_id: OpId
    task: ImageTask
    n_channels: Literal[1, 3]


class SeenReply(_Message, frozen=True):
    """What the model saw."""

    op_id: OpId
    seen: Seen


class Generate(_Message, frozen=True):
    """Buffers: one uint8 msgpack GenerateTask; for each image uint8 `[h, w * 3]`."""

    op_id: OpId


class Count(_Message, frozen=True):
    """How many tokens a prompt has. Buffers: as Generate."""

    op_id: OpId


class CountReply(_Message, frozen=True):
    """So many."""

    op_id: OpId
    n_tokens: int


class Piece(_Message, frozen=True):
    """The next words of an answer that is being written, or its prompt's length. No answer in itself."""

    op_id: OpId
    written: Written


class FinishReply(_Message, frozen=True):
    """The answer is written."""

    op_id: OpId
    finish: Finish


class Listen(_Message, frozen=True):
    """Buffer: int16 samples."""

    op_id: OpId
    task: SpeechTask


class HeardReply(_Message, frozen=True):
    """What the model heard."""

    op_id: OpId
    heard: Heard


class FreeCaches(_Message, frozen=True):
    """Give back memory that is only kept to be used again."""

    op_id: OpId


class Done(_Message, frozen=True):
    """Answers what has no other answer."""

    op_id: OpId


class Cancel(_Message, frozen=True):
    """Nobody waits for this op any more. Answered by `Dropped` unless the op had already started.

    A generation that had started ends at its next token, a window that is listened to at its next step; both
    are answered as any other.
    """

    op_id: OpId


class Dropped(_Message, frozen=True):
    """The op was taken out of the queue."""

    op_id: OpId


class Failure(_Message, frozen=True):
    """The op ended in a TurboError, as its plain fields."""

    op_id: OpId
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None


class Ping(_Message, frozen=True):
    """Are you there? Answered at once, whatever is being computed."""


class Pong(_Message, frozen=True):
    """The interpreter runs. `n_steps` rises whenever the compute loop gets somewhere."""

    n_steps: int


class Stop(_Message, frozen=True):
    """Answer what is queued, then end."""


Op = Load | Tokenize | Embed | Look | Generate | Count | Listen | FreeCaches
Answer = (
    Hello
    | LoadedReply
    | TokensReply
    | OutputsReply
    | SeenReply
    | FinishReply
    | CountReply
    | HeardReply
    | Done
    | Dropped
    | Failure
)
Message = Op | Answer | Piece | Cancel | Ping | Pong | Stop


def failure(op_id: int, error: TurboError) -> Failure:
    """Returns the message that `error_of` turns back into `error`, an endless text cut."""
    cut = error.to_fields() | {"message": error.message[:MAX_MESSAGE_CHARS]}
    return Failure(op_id, **cut)


def error_of(message: Failure) -> TurboError:
    """Returns the error the child meant."""
    fields = ("code", "message", "param", "retry_after_s")
    return from_fields({name: getattr(message, name) for name in fields})
