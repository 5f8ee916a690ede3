"""How long a picture takes from bytes to pixels, and where the time goes: `python -m bench.media_latency`.

A drawn page of text, 1000 x 1400, as JPEG of quality 85, read as gray letterbox of 384 x 512. Wall times
depend on who else computes, CPU times hardly.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import time

import numpy as np
import psutil
from PIL import Image, ImageDraw

from bench.words import vocabulary
from turbov2.media import Decoder, View

N_REQUESTS = 300
N_WARM = 20
VIEW = View.letterbox(384, 512)


def page(n_columns: int) -> bytes:
    """Returns the JPEG; so many columns of words fill the page."""
    picture = Image.new("RGB", (1000, 1400), "white")
    draw, rng = ImageDraw.Draw(picture), np.random.default_rng(0)
    for top in range(80, 1320, 22):
        for left in range(80, 80 + 200 * n_columns, 200):
            draw.text(
                (left, top),
                " ".join(rng.choice(vocabulary()[:2000], 3))[:24],
                fill=(20, 20, 30),
                font_size=16,
            )
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def nothing_to_decode(n_bytes: int) -> bytes:
    """Returns a file of this length that is its pixels already, which leaves hardly more than the way."""
    file = io.BytesIO()
    Image.new("L", (VIEW.max_width_px, VIEW.max_height_px), "white").save(file, "BMP")
    return file.getvalue() + bytes(max(0, n_bytes - file.tell()))


async def measure(file: bytes) -> str:
    """Returns percentiles of the wall time and means of the CPU times, in ms."""
    decoder = Decoder(n_children=1)
    for _ in range(N_WARM):
        await decoder.image(file, VIEW)
    child, walls_ms = psutil.Process(*decoder.pids), []
    before_s, ours_s = sum(child.cpu_times()[:2]), time.process_time()
    for _ in range(N_REQUESTS):
        start_s = time.perf_counter()
        await decoder.image(file, VIEW)
        walls_ms.append(1e3 * (time.perf_counter() - start_s))
    child_ms = 1e3 * (sum(child.cpu_times()[:2]) - before_s) / N_REQUESTS
    ours_ms = 1e3 * (time.process_time() - ours_s) / N_REQUESTS
    await decoder.close()
    low, middle, high = (statistics.quantiles(walls_ms, n=20)[at] for at in (0, 9, 18))
    wall = f"wall p5 {low:.2f} p50 {middle:.2f} p95 {high:.2f}"
    return f"{len(file)} bytes: {wall} ms; CPU child {child_ms:.2f} server {ours_ms:.2f} ms"


async def main() -> None:
    """Prints a line for a full page, for half a page, and for the way alone."""
    full, half = page(4), page(2)
    for name, file in (("full", full), ("half", half), ("way only", nothing_to_decode(len(full)))):
        print(f"{name:9}", await measure(file))


if __name__ == "__main__":
    asyncio.run(main())
