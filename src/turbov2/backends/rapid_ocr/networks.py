"""The library's edge: its detector and recogniser around sessions of our own.

The library's own entry point reads a configuration, looks for models by name and fetches those it lacks. None
of that happens here: its parts are given sessions on the files that the catalogue names.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rapidocr.ch_ppocr_det import TextDetector
from rapidocr.ch_ppocr_rec import TextRecognizer
from rapidocr.utils.typings import EngineType, LangRec

from turbov2.errors import LoadFailed

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

logging.getLogger("RapidOCR").disabled = True  # it writes paths, and to stderr

Quads = NDArray[np.float32]  # [n, 4, 2]: x, y of corners, clockwise
STRIP_HEIGHT_PX = 48  # what the recogniser reads
_LOG_ERRORS = 3
_SHORT_SIDE_PX = 736  # the library's own bound, below which it enlarges
_LEAST_SIDE_PX = 64  # below it the detector's map has no room for a line
# As the library's config.yaml has them for these weights.
_DETECTING: dict[str, Any] = {
    "limit_side_len": 1 << 30,  # pages are scaled here: the library would blow a narrow strip up without end
    "limit_type": "max",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "thresh": 0.3,
    "box_thresh": 0.5,
    "max_candidates": 1000,
    "unclip_ratio": 1.6,
    "use_dilation": True,
    "score_mode": "fast",
}
_RECOGNISING: dict[str, Any] = {"lang_type": LangRec.CH, "rec_batch_num": 1, "rec_img_shape": [3, 48, 320]}


class _Section(dict[str, Any]):
    """A section of the library's configuration, which reads some fields as attributes."""

    __getattr__ = dict.__getitem__


def open_session(path: Path, n_threads: int) -> onnxruntime.InferenceSession:
    """Returns a session on the graph. Raises: LoadFailed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_ERRORS
    options.intra_op_num_threads = n_threads
    # Pages differ in size: an arena would keep the largest of each for good, twice what a page needs.
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises its own classes, not all of them public
        version = onnxruntime.__version__
        raise LoadFailed(f"{path.name} is no graph that ONNX Runtime {version} runs") from error


class Detector:
    """Finds lines of text."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._detector = TextDetector(_section(session, _DETECTING))

    def quads(self, pixels: Pixels, long_side_px: int) -> Quads:
        """Returns `[n, 4, 2]` float32 corners, from the upper left clockwise, in the given BGR pixels.

        long_side_px: a larger page is scaled down to it, a small one up towards _SHORT_SIDE_PX; the corners
        are in the given pixels all the same.
        """
        height, width = pixels.shape[:2]
        factor = min(long_side_px / max(height, width), max(1.0, _SHORT_SIDE_PX / min(height, width)))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(pixels, size, interpolation=way) if factor != 1 else pixels
        missing = [max(0, _LEAST_SIDE_PX - side) for side in size]
        padded = cv2.copyMakeBorder(scaled, 0, missing[1], 0, missing[0], cv2.BORDER_REPLICATE)
        found = self._detector(padded).boxes
        if found is None or len(found) == 0:
            return np.zeros((0, 4, 2), np.float32)
        corners: Quads = np.multiply(found, [width / size[0], height / size[1]], dtype=np.float32)
        return corners


class Recogniser:
    """Reads strips of text. `characters`: what the columns of its output stand for; the first is none."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._recogniser = TextRecognizer(_section(session, _RECOGNISING))
        self._session = session
        self._input = session.get_inputs()[0].name
        self.characters: list[str] = self._recogniser.postprocess_op.character

    def columns(self, strips: list[Pixels], width_px: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Returns `[n, columns]` which character stands there, and how sure that is.

        strips: BGR, scaled to 48 pixels of height, padded or squeezed to `width_px`.
        """
        ratio = width_px / STRIP_HEIGHT_PX
        batch = np.stack([self._recogniser.resize_norm_img(strip, ratio) for strip in strips])
        (odds,) = self._session.run(None, {self._input: batch.astype(np.float32, copy=False)})
        best = odds.argmax(axis=2)
        return best, np.take_along_axis(odds, best[:, :, None], axis=2)[:, :, 0]


def strip_of(pixels: Pixels, quad: NDArray[np.float32]) -> Pixels:
    """Returns the quad's content as a level strip, its first corner on the upper left."""
    width, height = strip_size(quad)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # The part of the page around the quad, or the library would look at all of it for each line.
    left, top = np.maximum(np.floor(quad.min(axis=0)).astype(int) - 2, 0)
    right, bottom = np.ceil(quad.max(axis=0)).astype(int) + 3
    matrix = cv2.getPerspectiveTransform(quad - np.array([left, top], np.float32), corners)
    part = pixels[top:bottom, left:right]
    strip: Pixels = cv2.warpPerspective(
        part, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC
    )
    return strip


def strip_size(quad: NDArray[np.float32]) -> tuple[int, int]:
    """Returns the width and height in pixels of the quad laid level."""
    sides = np.hypot(*(quad - np.roll(quad, -1, axis=0)).T)
    return max(1, int(max(sides[0], sides[2]))), max(1, int(max(sides[1], sides[3])))


def _section(session: onnxruntime.InferenceSession, fields: dict[str, Any]) -> _Section:
    return _Section(fields, engine_type=EngineType.ONNXRUNTIME, session=session)
