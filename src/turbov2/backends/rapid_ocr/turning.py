"""Which way up a page lies, by its lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from turbov2.backends.rapid_ocr.networks import Quads, strip_size

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

TALL_RATIO = 1.5  # a line this much higher than wide runs down the page
_N_VOTERS = 12
_LEAST_RATIO = 2.0  # a voter's width by its height: short words look alike both ways
_CLASSIFIER_SIZE = (192, 48)  # width, height


class UprightClassifier:
    """Tells whether a strip stands on its head."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def upside_down(self, strips: Sequence[Pixels]) -> NDArray[np.float32]:
        """Returns `[n]` float32, 0 to 1: how likely each BGR strip is upside down."""
        batch = np.stack([_begin_of(strip) for strip in strips])
        (odds,) = self._session.run(None, {self._input: batch})
        return np.asarray(odds[:, 1], np.float32)


def are_sideways(quads: Quads) -> bool:
    """True when most of the text, by length, runs up or down the page."""
    sizes = np.array([strip_size(quad) for quad in quads], np.float64).reshape(-1, 2)
    lengths = sizes.max(axis=1)
    is_tall = sizes[:, 1] >= TALL_RATIO * sizes[:, 0]
    return bool(lengths[is_tall].sum() > lengths[~is_tall].sum())


def voters(quads: Quads) -> Quads:
    """Returns the longest lines of the page, which tell best which way up it lies; none of short words."""
    ratios = np.array([width / height for width, height in map(strip_size, quads)])
    longest = [int(at) for at in np.argsort(-ratios)[:_N_VOTERS] if ratios[at] >= _LEAST_RATIO]
    return quads[longest]


def turned(pixels: Pixels, degrees: int) -> Pixels:
    """Returns the page turned clockwise by a multiple of 90 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, -(degrees // 90)))


def turned_back(points: NDArray[np.float64], degrees: int, width: int, height: int) -> NDArray[np.float64]:
    """Returns where points `[..., 2]` of a page turned by `degrees` lie on the page before it was turned.

    width, height: of the page before it was turned.
    """
    x, y = points[..., 0], points[..., 1]
    match degrees:
        case 90:
            back = y, height - x
        case 180:
            back = width - x, height - y
        case 270:
            back = width - y, x
        case _:
            back = x, y
    return np.stack(back, axis=-1)


def readings(quad: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Returns the ways to read a quad: as it lies, and of a tall one also from below and from above.

    The corner that comes first is the upper left one of the text.
    """
    width, height = strip_size(quad)
    if height < TALL_RATIO * width:
        return [quad]
    return [quad, np.roll(quad, 1, axis=0), np.roll(quad, -1, axis=0)]


def _begin_of(strip: Pixels) -> NDArray[np.float32]:
    """Returns `[3, 48, 192]` float32 in -1 to 1: the strip's begin, as high as the network wants it.

    Of a long line squeezed to that width nobody could tell which way up it is, nor can the network.
    """
    width, height = _CLASSIFIER_SIZE
    begin = strip[:, : strip.shape[0] * width // height]
    scaled_width = min(width, max(1, int(np.ceil(height * begin.shape[1] / begin.shape[0]))))
    scaled = cv2.resize(begin, (scaled_width, height), interpolation=cv2.INTER_LINEAR)
    padded = np.zeros((3, height, width), np.float32)
    padded[:, :, :scaled_width] = scaled.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    return padded
