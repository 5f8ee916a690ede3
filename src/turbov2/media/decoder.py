"""Files as pixels and pages: a few children, each reading one file at a time."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TypeVar

import msgspec
import numpy as np

from turbov2.errors import MediaTooLarge, QueueFull, Stopping
from turbov2.media import messages as say
from turbov2.media.child import Child
from turbov2.media.limits import MediaLimits
from turbov2.media.results import Document, Image, Page, Pixels, View
from turbov2.runners import frames

T = TypeVar("T")

_CANCEL_GRACE_S = 0.1  # most requests end by themselves within it, and the child can be used again
_MAX_WAITING_FILES = 4  # of the largest size, in all

_texts = msgspec.msgpack.Decoder(list[str])


class Decoder:
    """Reads images and documents in child processes, which start when needed and end when idle.

    n_children: files read at once. idle_s: after which an unused child ends.
    Every method may be cancelled: the child is free again, or ended, within 200 ms.
    """

    def __init__(
        self,
        limits: MediaLimits | None = None,
        *,
        n_children: int = 2,
        idle_s: float = 60.0,
        executable: str = sys.executable,
    ) -> None:
        self.limits = limits or MediaLimits()
        self._executable = executable
        self._idle_s = idle_s
        self._slots = asyncio.Semaphore(n_children)
        self._idle: dict[Child, asyncio.TimerHandle] = {}  # the one used last comes last
        self._children: set[Child] = set()
        self._jobs: set[asyncio.Task[frames.Frame]] = set()
        self._keys = itertools.count(1)
        self._n_waiting_bytes = 0
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the children there are."""
        return [child.pid for child in self._children]

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

    async def close(self) -> None:
        """Afterwards there are no children, and requests that waited have ended in Stopping."""
        self._is_closed = True
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
        while tasks := [*self._jobs, *(child.ended for child in self._children)]:
            for child in self._children:
                child.end()
            await asyncio.wait(tasks)

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
        if self._is_closed:
            raise Stopping("the server is stopping")
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
            child = await self._take(key)
            is_held = key != 0 and child.holds == key
            frame = await child.ask(request, *(() if is_held else (file,)))
            child.holds = key or child.holds
            return frame
        except Exception:
            if child is not None:
                child.holds = 0  # it may have let go of what it held
            if self._is_closed:
                raise Stopping("the server is stopping") from None
            raise
        finally:
            self._give_back(child)
            self._slots.release()

    async def _take(self, key: int) -> Child:
        """Returns a child of this job's own: one that holds the document, else the one used last."""
        if self._is_closed:
            raise Stopping("the server is stopping")
        usable = [child for child in self._idle if not child.is_spent]
        if usable:
            chosen = next((child for child in usable if key and child.holds == key), usable[-1])
            self._idle.pop(chosen).cancel()
            return chosen
        return await self._start()

    async def _start(self) -> Child:
        child = await Child.spawn(self._executable)
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._lose(child))
        try:
            await child.begin(self.limits)
        except BaseException:
            child.end()
            raise
        return child

    def _give_back(self, child: Child | None) -> None:
        if child is None:
            return
        if child.is_spent or self._is_closed:
            child.end()
        else:
            loop = asyncio.get_running_loop()
            self._idle[child] = loop.call_later(self._idle_s, self._end_idle, child)

    def _end_idle(self, child: Child) -> None:
        del self._idle[child]
        child.end()

    def _lose(self, child: Child) -> None:
        self._children.discard(child)
        if timer := self._idle.pop(child, None):
            timer.cancel()


def _forget(job: asyncio.Task[frames.Frame]) -> None:
    """Takes the outcome of a job that nobody waits for any more."""
    if not job.cancelled():
        job.exception()


def _image_of(frame: frames.Frame) -> Image:
    reply, (rows,) = frames.message_of(frame, say.ImageReply), frame.buffers
    pixels = rows if reply.n_channels == 1 else rows.reshape(len(rows), -1, reply.n_channels)
    source = reply.source_width_px, reply.source_height_px
    return Image(pixels, reply.format, *source, reply.n_frames, reply.is_rotated)
