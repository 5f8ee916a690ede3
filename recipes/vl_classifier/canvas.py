"""How a page becomes the network's input, as the server's decoder does it: turbov2.media."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Height and width of what the network sees, of upright pages; wide ones get it lying.
LONG_SIDE, SHORT_SIDE = 512, 384
WHITE = 255

Gray = NDArray[np.uint8]


def canvas_size(height: int, width: int) -> tuple[int, int]:
    """Returns (height, width) in pixels of the canvas for a page of this size."""
    return (LONG_SIDE, SHORT_SIDE) if height >= width else (SHORT_SIDE, LONG_SIDE)


def letterbox(page: Gray) -> tuple[Gray, tuple[float, float, float, float]]:
    """Fits a whole page `[h, w]` into the middle of a white canvas.

    Returns the canvas uint8 and where the page lies in it: (left, top, right, bottom) in shares of the
    canvas.
    """
    height, width = page.shape
    rows, columns = canvas_size(height, width)
    scale = min(rows / height, columns / width)
    tall, wide = max(round(height * scale), 1), max(round(width * scale), 1)
    fitted = Image.fromarray(page).resize((wide, tall), Image.Resampling.BILINEAR, reducing_gap=2.0)
    top, left = (rows - tall) // 2, (columns - wide) // 2
    canvas = np.full((rows, columns), WHITE, np.uint8)
    canvas[top : top + tall, left : left + wide] = np.asarray(fitted)
    return canvas, (left / columns, top / rows, (left + wide) / columns, (top + tall) / rows)
