"""Files as pixels, pages and samples: a few children, each reading one file at a time."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec
import numpy as np

from turbov2.errors import DeadlineExceeded, MediaTooLarge, NotSupported, QueueFull, TurboError
from turbov2.media import messages as say
from turbov2.media.audio_file import AudioFile, OpenFile
from turbov2.media.child import Child
from turbov2.media.children import Children
from turbov2.media.limits import MediaLimits
from turbov2.media.results import Document, Image, Page, Pixels, View
from turbov2.runners import frames
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.spools import Spools

T = TypeVar("T")

_CANCEL_GRACE_S = 0.1  # most requests end by themselves within it, and the child can be used again
_MAX_WAITING_FILES = 4  # of the largest size, in all
_MAX_WAITING_SOUNDS = 64  # files that lie on disk

_texts = msgspec.msgpack.Decoder(list[str])


class Decoder:
    """Reads images, documents and sound in child processes, which start when needed and end when idle.

    spools: where samples lie; without, no sound is read. n_children: images and documents read at once, and
    as many audio files beside them. idle_s: after which an unused child ends.
    Every method may be cancelled: the child is free again, or ended, within 200 ms.
    """

    def __init__(
        self,
        limits: MediaLimits | None = None,
        spools: Spools | None = None,
        *,
        n_children: int = 2,
        idle_s: float = 60.0,
        executable: str = sys.executable,
    ) -> None:
        self.limits = limits or MediaLimits()
        self._spools = spools
        self._children = Children(self.limits, idle_s, executable)
        self._slots = asyncio.Semaphore(n_children)
        self._audio_slots = asyncio.Semaphore(n_children)
        self._jobs: set[asyncio.Task[frames.Frame]] = set()
        self._sounds: set[asyncio.Task[None]] = set()
        self._keys = itertools.count(1)
        self._n_waiting_bytes = 0
        self._n_waiting_sounds = 0

    @property
    def pids(self) -> list[int]:
        """Process ids of the children there are."""
        return self._children.pids

    async def image(self, payload: bytes, view: View | None = None) -> Image:
        """Returns the picture in `payload`: a moving one's first frame, a document's first page.

        Raises: BadMedia, UnsupportedMedia, MediaTooLarge; DeadlineExceeded past `limits.timeout_s`;
        DecoderCrashed; QueueFull, Stopping; NotSupported where a library is missing.
        """
        file = self._file(payload)
        return _image_of(await self._ask(say.ReadImage(view or View()), file))

    async def open(self, payload: bytes, password: str | None = None) -> Document:
        """Returns what kind of file it is and the sizes of its pages. Raises: as `image`."""
        key, file = next(self._keys), self._file(payload)
        frame = await self._ask(say.OpenDocument(key, password), file, key)
        reply, (sizes,) = frames.message_of(frame, say.DocumentReply), frame.buffers
        return Document(reply.format, sizes, reply.is_encrypted, key, file, password)

    async def page(self, document: Document, index: int) -> Page:
        """Returns the text layer and the objects of page `index`, from 0; an image has neither.

        Raises: InvalidRequest for a page that does not exist; as `image`.
        """
        request = say.ReadPage(document.key, index, document.password)
        frame = await self._ask(request, document.payload, document.key)
        reply, (words, boxes, lines) = frames.message_of(frame, say.PageReply), frame.buffers
        texts = _texts.decode(words.data)
        size = reply.width, reply.height, reply.rotation_degrees
        return Page(index, *size, texts, boxes, lines, reply.soundness, reply.objects)

    async def render(self, document: Document, index: int, view: View | None = None) -> Image:
        """Returns the pixels of page `index`, from 0; fewer than asked for where they pass the pixel limit.

        Raises: as `page`.
        """
        request = say.RenderPage(document.key, index, view or View(), document.password)
        return _image_of(await self._ask(request, document.payload, document.key))

    async def audio(self, file: bytes | OpenFile, *, keeps_partial: bool = False) -> AudioFile:
        """Returns the sound of `file`, which is decoded on while it is used; whoever has it closes it.

        file: its bytes, or an open file on disk, which may be closed once this returns. keeps_partial: a file
        that breaks off is what came before.
        Raises: as `image`; NoStorage, QueueFull without room on disk.
        """
        if self._spools is None:
            raise NotSupported("audio is not read here: there is no folder for its samples")
        if isinstance(file, bytes):
            self._check_audio_bytes(len(file))
            with await asyncio.to_thread(self._spools.open) as upload:
                await asyncio.to_thread(upload.append, file)
                return await self._open_audio(upload, self._spools, keeps_partial)
        self._check_audio_bytes(os.fstat(file.fileno()).st_size)
        return await self._open_audio(file, self._spools, keeps_partial)

    async def _open_audio(self, file: OpenFile, spools: Spools, keeps_partial: bool) -> AudioFile:
        spool = await asyncio.to_thread(spools.open)
        audio = AudioFile(self._sound(file), spool, keeps_partial=keeps_partial)
        self._sounds.add(audio.decoding)
        audio.decoding.add_done_callback(self._sounds.discard)
        try:
            await audio.started()
        except BaseException:
            await audio.close()
            raise
        return audio

    async def _sound(self, file: OpenFile) -> AsyncGenerator[frames.Frame, None]:
        """Yields a child's answers about the file's sound; closing ends a child that is not done."""
        await self._wait_for_audio_turn()
        child, is_done = None, False
        try:
            child = await self._children.take()
            frame = await child.ask_about(say.ReadAudio(), file.fileno())
            pace = _Pace(child, self.limits.timeout_s)
            yield frame
            while not is_done:
                frame = await child.next_answer()
                pace.go_on(frame)
                is_done = isinstance(frame.message, say.AudioEnd)
                yield frame
        except TurboError:
            self._children.check_open()
            raise
        except BaseException:
            if child is not None and not is_done:
                child.end()
            raise
        finally:
            self._children.give_back(child)
            self._audio_slots.release()

    async def _wait_for_audio_turn(self) -> None:
        self._children.check_open()
        if self._n_waiting_sounds >= _MAX_WAITING_SOUNDS:
            waiting = f"{self._n_waiting_sounds} audio files wait already"
            raise QueueFull(f"{waiting}; try again in a moment", retry_after_s=5)
        self._n_waiting_sounds += 1
        try:
            await self._audio_slots.acquire()
        finally:
            self._n_waiting_sounds -= 1

    def _check_audio_bytes(self, n_bytes: int) -> None:
        if n_bytes > self.limits.max_audio_bytes:
            size = f"{n_bytes} bytes, the limit is {self.limits.max_audio_bytes}"
            raise MediaTooLarge(f"the file has {size}; send it in parts, or with fewer bits a second")

    async def close(self) -> None:
        """Afterwards there are no children, and requests that waited have ended in Stopping."""
        await self._children.close(self._jobs, self._sounds)

    def _file(self, payload: bytes) -> Pixels:
        if len(payload) > self.limits.max_bytes:
            size = f"{len(payload)} bytes, the limit is {self.limits.max_bytes}"
            raise MediaTooLarge(f"the file has {size}; send it smaller, or in parts")
        return np.frombuffer(payload, np.uint8)

    async def _ask(self, request: say.Request, file: Pixels, key: int = 0) -> frames.Frame:
        """Returns the answer of a child that has the file: under `key`, or for this request alone."""
        await self._wait_for_turn(len(file))
        job = asyncio.create_task(self._serve(request, file, key))  # from here on the slot is its own
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(_forget)
            asyncio.get_running_loop().call_later(_CANCEL_GRACE_S, job.cancel)
            raise

    async def _wait_for_turn(self, n_bytes: int) -> None:
        self._children.check_open()
        if self._n_waiting_bytes + n_bytes > _MAX_WAITING_FILES * self.limits.max_bytes:
            waiting = f"{self._n_waiting_bytes} bytes of images and documents wait already"
            raise QueueFull(f"{waiting}; try again in a moment", retry_after_s=1)
        self._n_waiting_bytes += n_bytes
        try:
            await self._slots.acquire()
        finally:
            self._n_waiting_bytes -= n_bytes

    async def _serve(self, request: say.Request, file: Pixels, key: int) -> frames.Frame:
        child = None
        try:
            child = await self._children.take(key)
            is_held = key != 0 and child.holds == key
            frame = await child.ask(request, *(() if is_held else (file,)))
            child.holds = key or child.holds
            return frame
        except Exception:
            if child is not None:
                child.holds = 0  # it may have let go of what it held
            self._children.check_open()
            raise
        finally:
            self._children.give_back(child)
            self._slots.release()


class _Pace:
    """Ends a child that decodes more slowly than its sound plays, whatever it does meanwhile."""

    def __init__(self, child: Child, timeout_s: float) -> None:
        self._child = child
        self._until_s = time.monotonic() + timeout_s

    def go_on(self, frame: frames.Frame) -> None:
        """Afterwards there is time for the next answer. Raises: DeadlineExceeded."""
        n_bytes = sum(buffer.nbytes for buffer in frame.buffers)
        self._until_s += n_bytes / 2 / SAMPLE_RATE_HZ
        if time.monotonic() > self._until_s:
            self._child.end()
            raise DeadlineExceeded("decoding the sound takes longer than it plays; send a simpler file")


def _forget(job: asyncio.Task[frames.Frame]) -> None:
    """Takes the outcome of a job that nobody waits for any more."""
    if not job.cancelled():
        job.exception()


def _image_of(frame: frames.Frame) -> Image:
    reply, (rows,) = frames.message_of(frame, say.ImageReply), frame.buffers
    pixels = rows if reply.n_channels == 1 else rows.reshape(len(rows), -1, reply.n_channels)
    source = reply.source_width_px, reply.source_height_px
    return Image(pixels, reply.format, *source, reply.n_frames, reply.is_rotated)
