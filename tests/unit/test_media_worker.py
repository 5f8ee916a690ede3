"""The child's answers, without a child."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pdfs import pdf
from tests.support.pictures import halves, packed
from turbov2.media import MediaLimits, View, sandbox, worker
from turbov2.media import messages as say
from turbov2.runners import frames


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> worker.Reader:
    monkeypatch.setattr(sandbox, "allow_cpu", lambda seconds: None)  # it would be this process's
    return worker.Reader(MediaLimits())


def frame_of(message: say.Request, file: bytes | None = None) -> frames.Frame:
    return frames.Frame(message, () if file is None else (np.frombuffer(bytearray(file), np.uint8),))


def answer_of(reader: worker.Reader, message: say.Request, file: bytes | None = None) -> frames.Frame:
    (answer,) = reader.answers(frame_of(message, file), [])
    return answer


def test_an_image_is_rows_of_bytes(reader: worker.Reader):
    answer = answer_of(reader, say.ReadImage(View()), packed(halves(), "PNG"))
    assert isinstance(answer.message, say.ImageReply)
    assert answer.message.n_channels == 3
    assert answer.buffers[0].shape == (64, 96 * 3)
    assert answer.message.rss_bytes > 1 << 20


def test_want_of_memory_is_told_and_lets_go_of_the_document(
    reader: worker.Reader, monkeypatch: pytest.MonkeyPatch
):
    file = pdf("BT /F 10 Tf 50 700 Td (some text) Tj ET")
    assert isinstance(answer_of(reader, say.OpenDocument(1), file).message, say.DocumentReply)
    assert isinstance(answer_of(reader, say.ReadPage(1, 0)).message, say.PageReply)

    def starve(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("turbov2.media.images.in_mode", starve)
    answer = answer_of(reader, say.ReadImage(View()), packed(halves(), "PNG")).message
    assert isinstance(answer, say.Failure)
    assert answer.code == "media_too_large"
    assert "MiB of memory, the limit; send it smaller" in answer.message
    with pytest.raises(frames.FrameError, match="not held"):
        answer_of(reader, say.ReadPage(1, 0))


def test_one_document_is_held_at_a_time(reader: worker.Reader):
    first, second = (pdf(f"BT /F 10 Tf 50 700 Td ({text}) Tj ET") for text in ("first", "second"))
    answer_of(reader, say.OpenDocument(1), first)
    assert isinstance(answer_of(reader, say.ReadPage(2, 0), second).message, say.PageReply)
    with pytest.raises(frames.FrameError, match="document 1 is not held"):
        answer_of(reader, say.ReadPage(1, 0))


def test_a_parent_that_sends_nonsense_ends_the_child(reader: worker.Reader):
    with pytest.raises(frames.FrameError, match="Begin"):
        list(reader.answers(frames.Frame(say.Begin(1, MediaLimits())), []))
    narrow = worker.Reader(MediaLimits(max_bytes=9))
    with pytest.raises(frames.FrameError, match="its own limit"):
        answer_of(narrow, say.ReadImage(View()), bytes(10))
    with pytest.raises(frames.FrameError, match="one file"):
        answer_of(reader, say.ReadAudio())
