"""The wire between a parent and its child: typed header plus raw buffers over Unix stream sockets.

frame  = magic (4 bytes) | header length (u32, little endian) | header | buffer | buffer ...
header = msgpack [message, [[dtype, shape], ...]]; a buffer's length follows from dtype and shape

Which messages there are is a protocol's affair: `RUNNER` reads those of runners, and is the default.
"""

from __future__ import annotations

import asyncio
import io
import math
import socket
import struct
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.runners.messages import Message

MAX_HEADER_BYTES = 1 << 20
MAX_BUFFER_BYTES = 512 << 20  # all buffers of a frame together
MAX_BUFFERS = 257  # a conversation's messages and 256 images

_PREFIX = struct.Struct("<4sI")
_MAGIC = b"TV2\n"
PREFIX_BYTES = _PREFIX.size
_JOIN_BELOW = 1 << 16  # small frames leave in one write: a copy costs less than a system call

T = TypeVar("T")
M = TypeVar("M")
Array = NDArray[Any]
Dtype = Literal["float32", "int32", "int16", "uint8"]
_ITEM_BYTES: dict[str, int] = {"float32": 4, "int32": 4, "int16": 2, "uint8": 1}
Shape = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1, max_length=2)]


class FrameError(Exception):
    """A frame broke the rules: a bug of ours or a corrupted peer. Never shown to clients."""


class Frame(NamedTuple):
    """A message and the arrays that came with it."""

    message: msgspec.Struct
    buffers: tuple[Array, ...] = ()


def message_of(frame: Frame, kind: type[T]) -> T:
    """Returns the frame's message. Raises: FrameError when it is not of this kind."""
    if not isinstance(frame.message, kind):
        raise FrameError(f"{type(frame.message).__name__} came unexpectedly")
    return frame.message


class BufferSpec(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a header says of one buffer."""

    dtype: Dtype
    shape: Shape

    def n_bytes(self) -> int:
        """Returns the buffer's length on the wire."""
        return _ITEM_BYTES[self.dtype] * math.prod(self.shape)


class Header(msgspec.Struct, Generic[M], frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a frame starts with; `M` is the union of a protocol's messages."""

    message: M
    buffers: Annotated[tuple[BufferSpec, ...], msgspec.Meta(max_length=MAX_BUFFERS)] = ()


Protocol = msgspec.msgpack.Decoder[Header[Any]]
RUNNER: Protocol = msgspec.msgpack.Decoder(Header[Message])
_header_encoder = msgspec.msgpack.Encoder()


# --- frames as bytes


def encode(message: msgspec.Struct, *arrays: Array) -> list[bytes | memoryview]:
    """Returns the frame as parts to send in order; buffers are views of `arrays`, not copies.

    Raises: FrameError when a limit is passed; nothing was sent then, so the connection stays usable.
    """
    specs = tuple(BufferSpec(cast(Dtype, array.dtype.name), array.shape) for array in arrays)
    _check_buffers(specs)
    header = _header_encoder.encode(Header(message, specs))
    if len(header) > MAX_HEADER_BYTES:
        raise FrameError(f"frame header of {len(header)} bytes passes the limit of {MAX_HEADER_BYTES}")
    return [_PREFIX.pack(_MAGIC, len(header)) + header, *map(_view, arrays)]


def header_bytes(prefix: bytes) -> int:
    """Returns the length of the header that follows `prefix`.

    Raises: FrameError when this is not the start of a frame, or the header is too long.
    """
    magic, n = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise FrameError(f"frame starts with {magic!r} instead of {_MAGIC!r}")
    if n > MAX_HEADER_BYTES:
        raise FrameError(f"frame header of {n} bytes passes the limit of {MAX_HEADER_BYTES}")
    return int(n)


def decode_header(
    header: bytes, protocol: Protocol = RUNNER
) -> tuple[msgspec.Struct, tuple[BufferSpec, ...]]:
    """Returns the message and what its buffers look like.

    Raises: FrameError when it is no message of the protocol or declares more than the limits allow.
    """
    try:
        decoded = protocol.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"frame header is malformed: {error}") from error
    _check_buffers(decoded.buffers)
    return decoded.message, decoded.buffers


def _check_buffers(specs: tuple[BufferSpec, ...]) -> None:
    if len(specs) > MAX_BUFFERS:
        raise FrameError(f"frame of {len(specs)} buffers passes the limit of {MAX_BUFFERS}")
    for spec in specs:
        if spec.dtype not in _ITEM_BYTES or not 1 <= len(spec.shape) <= 2:
            raise FrameError(f"frame buffer of dtype {spec.dtype} and shape {spec.shape} is not sendable")
    n_bytes = sum(spec.n_bytes() for spec in specs)
    if n_bytes > MAX_BUFFER_BYTES:
        raise FrameError(f"frame buffers of {n_bytes} bytes pass the limit of {MAX_BUFFER_BYTES}")


def _view(array: Array) -> memoryview:
    # Through uint8, because memoryview.cast refuses shapes that hold a zero.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# --- the parent's end: asyncio streams


async def read_frame(reader: asyncio.StreamReader, protocol: Protocol = RUNNER) -> Frame:
    """Returns the next frame, its buffers writable.

    Raises: EOFError at the end of the stream; FrameError when the frame is malformed or too large.
    """
    n = header_bytes(await reader.readexactly(PREFIX_BYTES))
    message, specs = decode_header(await reader.readexactly(n), protocol)
    arrays = tuple(np.empty(spec.shape, dtype=spec.dtype) for spec in specs)
    for array in arrays:
        view, at = _view(array), 0
        while at < len(view):
            chunk = await reader.read(len(view) - at)
            if not chunk:
                raise EOFError("the stream ended inside a frame")
            view[at : at + len(chunk)] = chunk
            at += len(chunk)
    return Frame(message, arrays)


def write_parts(writer: asyncio.StreamWriter, parts: list[bytes | memoryview]) -> None:
    """Hands an encoded frame to `writer` without awaiting, so frames never mix; the caller drains.

    The arrays behind `parts` must not change until they are drained.
    """
    for part in _joined(parts):  # writelines would join them on Python 3.11
        writer.write(part)


# --- the child's end: blocking sockets


def receive_frame(stream: io.BufferedReader, protocol: Protocol = RUNNER) -> Frame:
    """Returns the next frame; blocks. Raises: as `read_frame`, and OSError.

    stream: `sock.makefile("rb")`, so that a small frame takes one system call.
    """
    n = header_bytes(_receive(stream, PREFIX_BYTES))
    message, specs = decode_header(_receive(stream, n), protocol)
    arrays = tuple(np.empty(spec.shape, dtype=spec.dtype) for spec in specs)
    for array in arrays:
        if stream.readinto(_view(array)) < array.nbytes:
            raise EOFError("the stream ended inside a frame")
    return Frame(message, arrays)


def _receive(stream: io.BufferedReader, n: int) -> bytes:
    received = stream.read(n)
    if len(received) < n:
        raise EOFError("the stream ended")
    return received


def send_frame(sock: socket.socket, message: msgspec.Struct, *arrays: Array) -> None:
    """Sends the whole frame; blocks. Raises: FrameError, before anything is sent; OSError."""
    send_parts(sock, encode(message, *arrays))


def send_parts(sock: socket.socket, parts: list[bytes | memoryview]) -> None:
    """Sends an encoded frame; blocks. Raises: OSError."""
    for part in _joined(parts):
        sock.sendall(part)


def _joined(parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    return [b"".join(parts)] if sum(map(len, parts)) < _JOIN_BELOW else parts
