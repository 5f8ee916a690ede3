"""`python -m bench.audio_files [MINUTES]`: how fast files of each kind become samples, and at what cost.

Synthetic speech of MINUTES (20 by default), packed by PyAV, decoded by one child. Per kind: seconds of sound
a second of wall time, processor seconds of the child and of this process per hour of sound, and their memory
at most.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.support.sounds import KINDS, packed, voice
from turbov2.media import Decoder
from turbov2.spools import Spools

MEASURED = ("wav 16 kHz", "wav 44.1 kHz stereo", "mp3", "m4a", "ogg opus", "flac")
LOOK_EVERY_S = 0.02


def cpu_s(pid: int) -> float:
    """Returns the processor time that a process took."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def measure(decoder: Decoder, file: bytes) -> list[Any]:
    """Returns the figures of one file."""
    ours, began_s = cpu_s(os.getpid()), time.perf_counter()
    async with await decoder.audio(file) as audio:
        (child,) = decoder.pids
        theirs, most = cpu_s(child), np.zeros(2)
        while not audio.is_done:
            await asyncio.sleep(LOOK_EVERY_S)
            now = [psutil.Process(pid).memory_info().rss for pid in (os.getpid(), child)]
            most = np.maximum(most, now)
        wall_s = time.perf_counter() - began_s
        sound_s = audio.duration_s or 0.0
        costs = [
            (cpu_s(pid) - before) * 3600 / sound_s for pid, before in ((child, theirs), (os.getpid(), ours))
        ]
        return [sound_s / wall_s, *costs, *(most / 1e6)]


async def main(minutes: float) -> None:
    """Prints a row a kind."""
    print(f"{'':22}{'times real':>12}{'child s/h':>12}{'server s/h':>12}{'server MB':>12}{'child MB':>12}")
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        decoder = Decoder(spools=Spools(Path(folder), 1 << 33), n_children=1)
        for kind in MEASURED:
            container, codec, rate_hz, n_channels = KINDS[kind]
            sound = np.tile(voice(60, rate_hz, n_channels), (1, round(minutes)))
            file = packed(sound, container, codec, rate_hz)
            del sound
            await measure(decoder, file)  # the child's start, and what it loads
            print(f"{kind:22}" + "".join(f"{figure:12.2f}" for figure in await measure(decoder, file)))
        await decoder.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if sys.argv[1:] else 20))
