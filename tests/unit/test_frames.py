"""The wire between runner and child: what goes in comes out, and nothing malformed gets through."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from turbov2.errors import InputTooLong, InvalidRequest, QueueFull
from turbov2.runners import arrays, frames, messages
from turbov2.types import (
    DENSE,
    EmbedTask,
    Loaded,
    LoadSpec,
    Outputs,
    SparseRows,
    TokenBatch,
    TokenVectors,
)

SPEC = LoadSpec("m", "fake", {"a.bin": "/a"}, "r1", max_tokens=7, options={"delay_s": 0.5, "x": None})
LOADED = Loaded(capabilities=("embed",), dtype="float32", dimensions=8)
MESSAGES: list[messages.Message] = [
    messages.Hello(1, 42),
    messages.Load(1, SPEC),
    messages.LoadedReply(1, LOADED),
    messages.FreeCaches(2),
    messages.Done(2),
    messages.Cancel(5),
    messages.Dropped(5),
    messages.Failure(6, "queue_full", "full", None, 1.5),
    messages.Ping(),
    messages.Pong(7),
    messages.Stop(),
]


def read(data: bytes) -> frames.Frame:
    """Reads one frame the parent's way."""

    async def run() -> frames.Frame:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await frames.read_frame(reader)

    return asyncio.run(run())


def send_and_close(sock: socket.socket, data: bytes) -> None:
    with sock, contextlib.suppress(BrokenPipeError):  # a reader that refuses does not read on
        sock.sendall(data)


def read_blocking(data: bytes) -> frames.Frame:
    """Reads one frame the child's way."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=send_and_close, args=(theirs, data))
        sender.start()
        with ours.makefile("rb") as stream:
            try:
                return frames.receive_frame(stream)
            finally:
                ours.shutdown(socket.SHUT_RDWR)
                sender.join()


def through(message: messages.Message, *arrays: frames.Array) -> frames.Frame:
    return read(b"".join(frames.encode(message, *arrays)))


def raw(header: Any, rest: bytes = b"") -> bytes:
    packed = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    return struct.pack("<4sI", b"TV2\n", len(packed)) + packed + rest


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("reading", [read, read_blocking])
def test_message_round_trip(message: messages.Message, reading: Any) -> None:
    assert reading(b"".join(frames.encode(message))) == frames.Frame(message)


@given(st.lists(st.text()) | st.lists(st.lists(st.integers(-(2**31), 2**31 - 1)), min_size=1))
def test_inputs_round_trip(inputs: Any) -> None:
    kind, buffers = arrays.pack_inputs(inputs)
    assert kind == ("ids" if inputs and isinstance(inputs[0], list) else "texts")
    assert arrays.unpack_inputs(through(messages.Tokenize(3, kind), *buffers), kind) == inputs


def tokens_of(rows: list[list[int]], n_cut: int = 0) -> TokenBatch:
    lengths = np.array([len(row) for row in rows], np.int32)
    return TokenBatch(np.array(sum(rows, []), np.int32), lengths, lengths + np.int32(n_cut))


@pytest.mark.parametrize("message", [messages.Embed(3, DENSE, True), messages.TokensReply(3)])
@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5)), st.integers(0, 9))
def test_tokens_round_trip(message: messages.Message, rows: list[list[int]], n_cut: int) -> None:
    tokens = tokens_of(rows, n_cut)
    frame = through(message, *arrays.pack_tokens(tokens))
    assert frame.message == message
    got = arrays.unpack_tokens(frame, n_rows=len(rows))
    for name in ("ids", "lengths", "full_lengths"):
        assert getattr(got, name).dtype == np.int32
        assert getattr(got, name).tolist() == getattr(tokens, name).tolist()


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
        elements=st.floats(width=32),
    )
)
def test_vectors_round_trip_is_bit_exact(vectors: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    frame = through(messages.OutputsReply(9), *arrays.pack_outputs(Outputs(vectors)))
    got = arrays.unpack_outputs(frame, n_rows=len(vectors)).dense
    assert got is not None
    assert got.tobytes() == vectors.tobytes()
    assert got.shape == vectors.shape
    assert got.flags.writeable


def test_second_texts_and_ragged_outputs_round_trip() -> None:
    tokens = TokenBatch(ints(5, 6, 7), ints(2, 1), ints(2, 1), ints(1, 0))
    got = arrays.unpack_tokens(through(messages.TokensReply(1), *arrays.pack_tokens(tokens)))
    assert got.second_starts is not None
    assert got.second_starts.tolist() == [1, 0]
    task = EmbedTask(("dense", "sparse", "tokens"), layers=3)
    outputs = Outputs(
        np.ones((2, 3), np.float32),
        SparseRows(ints(4, 9), np.array([0.5, 2], np.float32), ints(0, 2)),
        TokenVectors(np.eye(3, dtype=np.float32), ints(1, 2)),
    )
    frame = through(messages.OutputsReply(1), *arrays.pack_outputs(outputs))
    back = arrays.unpack_outputs(frame, task, n_rows=2)
    assert msgspec.to_builtins(back, enc_hook=lambda a: a.tolist()) == msgspec.to_builtins(
        outputs, enc_hook=lambda a: a.tolist()
    )
    with pytest.raises(frames.FrameError):
        arrays.unpack_outputs(frame, EmbedTask(("dense",)), n_rows=2)
    assert through(messages.Embed(1, task, False)).message == messages.Embed(1, task, False)


def test_pairs_round_trip() -> None:
    pairs = [("a query", "a document", ""), ("", "x" * 100_000, "an instruction")]
    kind, buffers = arrays.pack_inputs(pairs)
    assert kind == "pairs"
    assert arrays.unpack_inputs(through(messages.Tokenize(1, kind), *buffers), kind) == pairs


def test_vectors_are_cast_and_made_contiguous() -> None:
    vectors: Any = np.arange(12, dtype=np.float64).reshape(3, 4).T
    frame = through(messages.OutputsReply(1), *arrays.pack_outputs(Outputs(vectors)))
    got = arrays.unpack_outputs(frame).dense
    assert got is not None
    np.testing.assert_array_equal(got, vectors)
    assert got.dtype == np.float32


def test_blocking_and_stream_ends_agree_on_large_buffers() -> None:
    vectors = np.random.default_rng(0).random((300, 1024), dtype=np.float32)
    data = b"".join(frames.encode(messages.OutputsReply(1), vectors))
    assert read(data).buffers[0].tobytes() == vectors.tobytes()
    assert read_blocking(data).buffers[0].tobytes() == vectors.tobytes()


@pytest.mark.parametrize("error", [InputTooLong("long", param="input"), QueueFull("q", retry_after_s=2.5)])
def test_errors_keep_class_and_fields(error: Any) -> None:
    got = messages.error_of(through(messages.failure(4, error)).message)  # type: ignore[arg-type]
    assert type(got) is type(error)
    assert got.to_fields() == error.to_fields()


def test_endless_error_text_is_cut() -> None:
    assert len(messages.failure(1, InvalidRequest("x" * 10**7)).message) == messages.MAX_MESSAGE_CHARS


MALFORMED = {
    "not a frame": b"HTTP/1.1 200 OK\r\n\r\n",
    "header too long": struct.pack("<4sI", b"TV2\n", frames.MAX_HEADER_BYTES + 1),
    "header not msgpack": raw(b"\xc1\xc1\xc1"),
    "header not utf-8": raw(b"\x92\x82\xa4type\xa4Stop\xa1\xff\x01\x90"),
    "trailing header bytes": raw(msgspec.msgpack.encode([{"type": "Stop"}, []]) + b"\x00"),
    "unknown message": raw([{"type": "Eval", "code": "1"}, []]),
    "unknown field": raw([{"type": "Stop", "now": True}, []]),
    "missing field": raw([{"type": "Cancel"}, []]),
    "negative op": raw([{"type": "Cancel", "op_id": -1}, []]),
    "object dtype": raw([{"type": "OutputsReply", "op_id": 1}, [["object", [1]]]]),
    "negative shape": raw([{"type": "OutputsReply", "op_id": 1}, [["float32", [-1, 8]]]]),
    "three axes": raw([{"type": "OutputsReply", "op_id": 1}, [["float32", [1, 1, 1]]]]),
    "no axes": raw([{"type": "OutputsReply", "op_id": 1}, [["float32", []]]]),
    "buffer too large": raw([{"type": "OutputsReply", "op_id": 1}, [["float32", [2**40, 2**40]]]]),
    "buffers too large together": raw(
        [{"type": "OutputsReply", "op_id": 1}, [["uint8", [frames.MAX_BUFFER_BYTES]], ["uint8", [1]]]]
    ),
    "too many buffers": raw(
        [{"type": "OutputsReply", "op_id": 1}, [["uint8", [0]]] * (frames.MAX_BUFFERS + 1)]
    ),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("reading", [read, read_blocking])
def test_malformed_frames_are_refused(data: bytes, reading: Any) -> None:
    with pytest.raises(frames.FrameError):
        reading(data)


@given(st.binary(max_size=64))
def test_any_header_decodes_or_is_a_frame_error(header: bytes) -> None:
    with contextlib.suppress(frames.FrameError):
        frames.decode_header(header)


@pytest.mark.parametrize("reading", [read, read_blocking])
@pytest.mark.parametrize("n", [0, 3, 8, 20, -1])
def test_a_cut_stream_is_an_eof(reading: Any, n: int) -> None:
    data = b"".join(frames.encode(messages.OutputsReply(1), np.zeros((2, 3), np.float32)))
    with pytest.raises(EOFError):
        reading(data[:n])


def test_too_much_is_refused_before_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(frames.FrameError, match="258 buffers"):
        frames.encode(messages.OutputsReply(1), *[np.zeros(1, np.float32)] * 258)
    with pytest.raises(frames.FrameError, match="float64"):
        frames.encode(messages.OutputsReply(1), np.zeros(1, np.float64))
    with pytest.raises(frames.FrameError, match="header"):
        frames.encode(messages.Load(1, msgspec.structs.replace(SPEC, revision="x" * (1 << 20))))
    monkeypatch.setattr(frames, "MAX_BUFFER_BYTES", 15)
    with pytest.raises(frames.FrameError, match="16 bytes"):
        frames.encode(messages.OutputsReply(1), np.zeros(4, np.float32))


INT, FLOAT, BYTES = np.zeros(2, np.int32), np.zeros((2, 3), np.float32), np.zeros(2, np.uint8)


@pytest.mark.parametrize(
    ("kind", "buffers"),
    [
        ("texts", ()),
        ("texts", (INT,)),
        ("texts", (np.frombuffer(b"\xc1", np.uint8),)),
        ("texts", (np.frombuffer(msgspec.msgpack.encode(["a", 1]), np.uint8),)),
        ("texts", (np.frombuffer(b"\x91\xa1\xff", np.uint8),)),
        ("ids", (BYTES,)),
        ("ids", (INT, np.array([3], np.int32))),
        ("ids", (INT, np.array([3, -1], np.int32))),
    ],
)
def test_inputs_with_the_wrong_buffers_are_refused(kind: Any, buffers: Any) -> None:
    with pytest.raises(frames.FrameError):
        arrays.unpack_inputs(frames.Frame(messages.Tokenize(1, kind), buffers), kind)


def ints(*values: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    "buffers",
    [
        (),
        (INT, INT),
        (INT, INT, FLOAT),
        (ints(1, 2), ints(3), ints(3)),
        (ints(1, 2), ints(3, -1), ints(3, 3)),
        (ints(1, 2), ints(2), ints(1)),
        (ints(1, 2), ints(2), ints(2, 2)),
        (ints(1, 2), ints(1, 1), ints(1, 1)),
    ],
    ids=["none", "two", "a matrix", "too few", "negative", "longer than full", "ragged", "two rows, not one"],
)
def test_tokens_with_the_wrong_buffers_are_refused(buffers: Any) -> None:
    with pytest.raises(frames.FrameError):
        arrays.unpack_tokens(frames.Frame(messages.TokensReply(1), buffers), n_rows=1)


@pytest.mark.parametrize("buffers", [(), (INT,), (FLOAT[0],), (FLOAT, INT), (FLOAT,)])
def test_vectors_with_the_wrong_buffers_are_refused(buffers: Any) -> None:
    with pytest.raises(frames.FrameError):
        arrays.unpack_outputs(frames.Frame(messages.OutputsReply(1), buffers), n_rows=1)


def test_one_reply_is_not_taken_for_another() -> None:
    with pytest.raises(frames.FrameError, match="OutputsReply"):
        arrays.unpack_tokens(frames.Frame(messages.OutputsReply(1), (INT, INT, INT)))
    with pytest.raises(frames.FrameError, match="TokensReply"):
        arrays.unpack_outputs(frames.Frame(messages.TokensReply(1), (FLOAT,)))


@pytest.mark.parametrize("token_id", [2**31, -(2**31) - 1, 2**70])
def test_ids_that_fit_no_vocabulary_are_the_callers_mistake(token_id: int) -> None:
    with pytest.raises(InvalidRequest, match=str(token_id)):
        arrays.pack_inputs([[1], [2, token_id]])


def test_lone_surrogates_are_the_callers_mistake() -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        arrays.pack_inputs(["fine", "\ud800"])
