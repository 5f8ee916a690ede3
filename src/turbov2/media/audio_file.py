"""The sound of a file, seen from the server: samples on disk, that grow while a child decodes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from turbov2.errors import BadMedia, DecoderCrashed, TurboError
from turbov2.media import messages as say
from turbov2.media.results import AudioFacts
from turbov2.runners import frames
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.spools import Spool

log = logging.getLogger(__name__)

_SAMPLE_BYTES = 2
_GRACE_S = 0.05  # for what is left to decode when a file is closed, if it is no more than so many seconds
_GRACE_SOUND_S = 5.0


class OpenFile(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """Returns it."""


class AudioFile:
    """Samples of a file's sound, int16, mono, 16,000 a second. Decoder.audio makes one.

    Decoding goes on by itself, at full speed, and what it gives lies on disk. Whoever has this closes it:
    within 200 ms its child and its disk are free. As an async context manager it closes itself.
    decoding: the task that does it, which raises nothing.
    """

    def __init__(
        self, answers: AsyncGenerator[frames.Frame, None], spool: Spool, *, keeps_partial: bool
    ) -> None:
        self._answers = answers
        self._spool = spool
        self._keeps_partial = keeps_partial
        self._start: say.AudioStart | None = None
        self._n_samples = 0
        self._broken = ""
        self._error: TurboError | None = None
        self._is_done = False
        self._progress = asyncio.Event()
        self.decoding = asyncio.create_task(self._decode(), name="audio decoding")

    async def __aenter__(self) -> AudioFile:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def facts(self) -> AudioFacts:
        """What the file is."""
        assert self._start is not None, "an audio file is used before it has started. This is a bug."
        return self._start.facts

    @property
    def n_samples_decoded(self) -> int:
        """How many samples there are by now."""
        return self._n_samples

    @property
    def is_done(self) -> bool:
        """True once no more samples come."""
        return self._is_done

    @property
    def duration_s(self) -> float | None:
        """How long the sound is: exact once it is done, before that what the file says, if anything."""
        if self._is_done:
            return self.n_samples_decoded / SAMPLE_RATE_HZ
        return self._start.claimed_s if self._start is not None else None

    @property
    def broken(self) -> str:
        """Why a file that was taken in part ends where it does; empty when it is whole, or not yet known."""
        return self._broken

    async def window(self, start: int, n_samples: int) -> NDArray[np.int16]:
        """Returns int16 `[n]` from sample `start` on, fewer where the sound ends; waits until they are there.

        Of a file that is known to be cut none come before all of it was decoded, unless it is taken in part:
        so its error comes before any work is done.
        Raises: what ended the decoding, also of samples that came before: BadMedia, MediaTooLarge,
        UnsupportedMedia, DeadlineExceeded, DecoderCrashed, NoStorage, QueueFull, Stopping.
        """
        is_suspect = self._start is not None and self._start.is_cut and not self._keeps_partial
        while not self._is_done and (is_suspect or self.n_samples_decoded < start + n_samples):
            await self._more()
        self._check()
        found = await asyncio.to_thread(self._spool.read, start * _SAMPLE_BYTES, n_samples * _SAMPLE_BYTES)
        return found.view(np.int16)

    async def whole(self) -> None:
        """Returns once all samples are there. Raises: as `window`."""
        while not self._is_done:
            await self._more()
        self._check()

    async def started(self) -> None:
        """Returns once it is known what the file is. Raises: as `window`."""
        while self._start is None and not self._is_done:
            await self._more()
        self._check()

    async def close(self) -> None:
        """Afterwards the child is free or ended, and the disk is free."""
        if self._is_almost_done():
            await asyncio.wait({self.decoding}, timeout=_GRACE_S)
        self.decoding.cancel()
        await asyncio.wait({self.decoding})
        self._spool.close()

    def _is_almost_done(self) -> bool:
        """Returns whether the child will say so in a moment, and can then be used again."""
        claimed_s = self._start.claimed_s if self._start is not None else None
        return claimed_s is not None and self._n_samples >= (claimed_s - _GRACE_SOUND_S) * SAMPLE_RATE_HZ

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)  # which would keep this, and its disk

    async def _more(self) -> None:
        self._check()
        await self._progress.wait()

    def _tell(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def _decode(self) -> None:
        try:
            async with contextlib.aclosing(self._answers) as answers:
                async for frame in answers:
                    await self._take(frame)
                    self._tell()
        except TurboError as error:
            self._error = error
        except Exception:  # else what came before would pass for all of it
            log.exception("decoding an audio file failed")
            self._error = TurboError("internal error; the server's log says why")
        finally:
            self._is_done = True
            self._tell()

    async def _take(self, frame: frames.Frame) -> None:
        match frame.message:
            case say.AudioStart() as start:
                self._start = start
            case say.AudioSamples() if len(frame.buffers) == 1 and self._start is not None:
                (samples,) = frame.buffers
                await asyncio.to_thread(self._spool.append, samples.data)
                self._n_samples += len(samples) // _SAMPLE_BYTES
            case say.AudioEnd(_, broken):
                self._broken = broken
                if broken and not self._keeps_partial:
                    raise BadMedia(broken)
            case _:
                raise DecoderCrashed("the process that read the file answered nonsense and was ended")
