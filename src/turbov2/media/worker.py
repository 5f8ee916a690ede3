"""The decoding child: `python -m turbov2.media.worker --requests FD ...`.

One thread, one request at a time. It holds at most one document. Libraries load when a file first needs them,
Pillow before. What they raise becomes an error of ours; whatever else goes wrong ends the process, and its
parent starts another.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from turbov2.errors import InvalidRequest, MediaTooLarge, NotSupported, TurboError
from turbov2.media import messages as say
from turbov2.media import sandbox
from turbov2.media.formats import HEAD_BYTES, sniff
from turbov2.media.limits import MediaLimits
from turbov2.media.memory import rss_bytes
from turbov2.media.receiver import Receiver
from turbov2.media.results import Image, Page
from turbov2.runners import frames
from turbov2.runners.entry import enter

if TYPE_CHECKING:
    from turbov2.media.images import ImageFileReader
    from turbov2.media.pdf import PdfReader


class Reader:
    """Answers requests within the limits."""

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits
        self._key = 0
        self._held: ImageFileReader | PdfReader | None = None

    def answers(self, frame: frames.Frame, descriptors: list[int]) -> Iterator[frames.Frame]:
        """Yields the answer or answers, the last of which may be a failure.

        descriptors: that came with the request. Raises: FrameError, which ends the child.
        """
        sandbox.allow_cpu(self._limits.timeout_s)
        try:
            if isinstance(frame.message, say.ReadAudio):
                yield from self._read_audio(descriptors)
            else:
                yield self._run(frame)
        except TurboError as error:
            yield frames.Frame(say.failure(error, rss_bytes()))
        except MemoryError:
            self._let_go()
            yield frames.Frame(say.failure(_needs_too_much(self._limits), rss_bytes()))

    def _run(self, frame: frames.Frame) -> frames.Frame:
        match frame.message:
            case say.ReadImage(view):
                with contextlib.closing(self._open(frame, None)) as opened:
                    return _image_frame(opened.image(0, view))
            case say.OpenDocument(key, password):
                self._hold(key, self._open(frame, password))
                return self._document_frame()
            case say.ReadPage(key, index, password):
                return _page_frame(self._document(frame, key, index, password).page(index))
            case say.RenderPage(key, index, view, password):
                return _image_frame(self._document(frame, key, index, password).image(index, view))
            case unexpected:
                raise frames.FrameError(f"a parent does not send {type(unexpected).__name__}")

    def _open(self, frame: frames.Frame, password: str | None) -> ImageFileReader | PdfReader:
        (file,) = frame.buffers
        if len(file) > self._limits.max_bytes:
            raise frames.FrameError("a parent does not send more than its own limit")
        name = sniff(file[:HEAD_BYTES].tobytes())
        if name == "PDF":
            return _pdf_reader(file.data, password, self._limits)
        return _image_reader(file.data, name, self._limits)

    def _read_audio(self, descriptors: list[int]) -> Iterator[frames.Frame]:
        if len(descriptors) != 1:
            raise frames.FrameError("a parent sends one file with a request for its sound")
        self._let_go()
        try:
            from turbov2.media.audio_answers import audio_answers
        except ImportError as error:
            raise not_installed("Audio files", "PyAV", "audio") from error
        try:
            yield from audio_answers(descriptors[0], self._limits)
        finally:
            gc.collect()  # some of the library's objects hold each other

    def _hold(self, key: int, opened: ImageFileReader | PdfReader) -> None:
        self._let_go()
        self._key, self._held = key, opened

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
        self._held = None

    def _document(
        self, frame: frames.Frame, key: int, index: int, password: str | None
    ) -> ImageFileReader | PdfReader:
        """Returns the document of this key, opened from the frame if it came along."""
        if frame.buffers:
            self._hold(key, self._open(frame, password))
        if self._held is None or self._key != key:
            raise frames.FrameError(f"document {key} is not held here")
        if not 0 <= index < self._held.n_pages:
            message = f"page {index + 1} does not exist: the document has {self._held.n_pages}"
            raise InvalidRequest(message, param="pages")
        return self._held

    def _document_frame(self) -> frames.Frame:
        held = cast("ImageFileReader | PdfReader", self._held)
        sizes = held.page_sizes()
        return frames.Frame(say.DocumentReply(rss_bytes(), held.format, held.is_encrypted), (sizes,))


def _image_reader(file: memoryview, name: str, limits: MediaLimits) -> ImageFileReader:
    try:
        from turbov2.media.images import ImageFileReader
    except ImportError as error:
        raise not_installed("Images and documents", "Pillow") from error
    return ImageFileReader(file, name, limits)


def _pdf_reader(file: memoryview, password: str | None, limits: MediaLimits) -> PdfReader:
    try:
        from turbov2.media.pdf import PdfReader  # tens of milliseconds that images need not wait for
    except ImportError as error:
        raise not_installed("PDFs", "pypdfium2") from error
    return PdfReader(file, password, limits)


def not_installed(what: str, library: str, extra: str = "documents") -> NotSupported:
    """Returns the error of an installation that lacks a library."""
    command = f"pip install 'deposium-embeddings-turbov2[{extra}]'"
    return NotSupported(
        f"{what} are not read here, because {library} is not installed; install it: {command}"
    )


def _needs_too_much(limits: MediaLimits) -> MediaTooLarge:
    mib = limits.address_space_bytes >> 20
    return MediaTooLarge(f"decoding the file takes more than {mib} MiB of memory, the limit; send it smaller")


def _image_frame(image: Image) -> frames.Frame:
    n_channels = 3 if image.pixels.ndim == 3 else 1
    reply = say.ImageReply(
        rss_bytes(),
        n_channels,
        image.format,
        image.source_width_px,
        image.source_height_px,
        image.n_frames,
        image.is_rotated,
    )
    return frames.Frame(reply, (image.pixels.reshape(len(image.pixels), -1),))


def _page_frame(page: Page) -> frames.Frame:
    reply = say.PageReply(
        rss_bytes(), page.width, page.height, page.rotation_degrees, page.soundness, page.objects
    )
    words = np.frombuffer(msgspec.msgpack.encode(page.words), np.uint8)
    return frames.Frame(reply, (words, page.boxes, page.lines))


def _begin(frame: frames.Frame) -> Reader:
    begin = frames.message_of(frame, say.Begin)
    if begin.version != say.PROTOCOL_VERSION:
        raise frames.FrameError(f"the parent speaks version {begin.version} of our protocol")
    with contextlib.suppress(ImportError):  # who reads audio alone need not have it
        import turbov2.media.images  # noqa: F401  Pillow, while nothing waits for it
    sandbox.confine(begin.limits)
    return Reader(begin.limits)


def main(arguments: list[str] | None = None) -> None:
    """Serves the parent until it closes the channel."""
    requests, answers = enter("turbov2.media.worker", arguments)
    receiver = Receiver(requests)
    stream: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, receiver))
    try:
        reader = _begin(frames.receive_frame(stream, say.TO_CHILD))
    except EOFError:  # the parent thought better of it
        return
    frames.send_frame(answers, say.Hello(rss_bytes()))
    while True:
        try:
            request = frames.receive_frame(stream, say.TO_CHILD)
        except EOFError:
            break
        with receiver.descriptors() as descriptors:
            for answer in reader.answers(request, descriptors):
                frames.send_frame(answers, answer.message, *answer.buffers)
                del answer
        del request  # the file, before the next one comes
    sys.stderr.flush()
    os._exit(0)  # without taking the libraries apart: the kernel does it faster


if __name__ == "__main__":
    main()
