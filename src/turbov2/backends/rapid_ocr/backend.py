"""The model that reads pages: detect lines, turn the page if need be, read each line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from turbov2.backends.rapid_ocr.letters import Word
from turbov2.backends.rapid_ocr.networks import (
    Detector,
    Quads,
    Recogniser,
    open_session,
    strip_of,
    strip_size,
)
from turbov2.backends.rapid_ocr.recognising import read_strips
from turbov2.backends.rapid_ocr.turning import (
    UprightClassifier,
    are_sideways,
    readings,
    turned,
    turned_back,
    voters,
)
from turbov2.errors import LoadFailed, NotCapable
from turbov2.types import ImageNeed, ImageTask, Loaded, LoadSpec, ReadPage, ReadTask, Seen, TextLine, TextWord

if TYPE_CHECKING:
    from turbov2.types.images import Pixels, Quad

FILES = ("det.onnx", "rec.onnx", "cls.onnx")
_N_PARAMETERS = 7_937_000
# An A3 page at 300 dpi has more; lines of a page that large are large as well.
_LONG_SIDE_PX = 4096
# The detector's cost grows with the area. Text of 9 points on A4 is 14 pixels high at the first side, which
# is enough; where lines turn out to be lower, the page is looked at once more at the second.
_DETECTION_SIDES_PX = (1280, 2048)
_LOW_LINE_PX = 14.0  # box of a line, which is higher than its letters
_LEAST_CONFIDENCE = 0.5  # below it, what was read are smudges and pictures
_DOUBT = 0.2  # mean vote for a turn: from here on lines are read both ways, and the surer way counts
_N_REFEREES = 4
# Share of its height by which a quad reaches over its print at either side: median of 1,700 lines.
_MARGIN = 0.12
_SURE = 0.8  # of a tall box read as it lies: a letter, not a line down the page


class _Line(NamedTuple):
    """A line that was read: its quad on the page as it was read, and the words of its strip."""

    quad: NDArray[np.float32]
    words: list[Word]

    @property
    def confidence(self) -> float:
        """Mean over its letters; 0 of a line without."""
        letters = [letter.confidence for word in self.words for letter in word.letters]
        return sum(letters) / len(letters) if letters else 0.0


class RapidOcrBackend:
    """Implements Looker. One page at a time uses all cores; nothing is kept between pages."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        for name in FILES:
            if name not in spec.files:
                raise LoadFailed(f"the model folder has no {name}, which reading needs")
        n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        cv2.setNumThreads(1)  # its threads would stand in the way of the networks'
        detector, recogniser, classifier = (open_session(Path(spec.files[name]), n_threads) for name in FILES)
        self._detector = Detector(detector)
        self._recogniser = Recogniser(recogniser)
        self._classifier = UprightClassifier(classifier)
        self.loaded = Loaded(
            capabilities=("ocr",),
            dtype="float32",
            n_parameters=_N_PARAMETERS,
            image=ImageNeed(long_side_px=_LONG_SIDE_PX, short_side_px=_LONG_SIDE_PX),
        )

    def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns a ReadPage of RGB pixels `[h, w, 3]`. Raises: NotCapable."""
        if not isinstance(task, ReadTask):
            raise NotCapable("a model that reads text does not classify pages", param="model")
        height, width = pixels.shape[:2]
        page, quads, degrees = self._upright(np.ascontiguousarray(pixels[:, :, ::-1]), task.turns)
        lines = [line for line in self._read(page, quads) if line.confidence >= _LEAST_CONFIDENCE]
        return ReadPage(tuple(_text_line(line, degrees, width, height) for line in lines), degrees)

    def free_caches(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Afterwards the networks' memory is free."""
        del self._detector, self._recogniser, self._classifier

    def _upright(self, page: Pixels, turns: bool) -> tuple[Pixels, Quads, int]:
        """Returns the page the right way up, the quads of its lines, and by how much it was turned."""
        degrees = 0
        quads = self._detect(page)
        if turns and are_sideways(quads):
            degrees = 90
            page = turned(page, degrees)
            quads = self._detect(page)
        if turns and self._are_upside_down(page, quads):
            degrees += 180
            height, width = page.shape[:2]
            page = turned(page, 180)
            quads = np.roll(np.array([width, height], np.float32) - quads, 2, axis=1)
        return page, quads, degrees

    def _are_upside_down(self, page: Pixels, quads: Quads) -> bool:
        """True when the page's longest lines look so, and also read better turned over.

        The classifier alone is sure of clean print only: of a blurred page it turns half the lines over.
        """
        longest = voters(quads)
        if len(longest) == 0:
            return False
        votes = self._classifier.upside_down([strip_of(page, quad) for quad in longest])
        if float(votes.mean()) < _DOUBT:
            return False
        few = longest[:_N_REFEREES]
        as_is, over = (
            [_Line(quad, words) for quad, words in zip(ways, self._words(page, ways), strict=True)]
            for ways in (list(few), list(np.roll(few, 2, axis=1)))
        )
        return sum(line.confidence for line in over) > sum(line.confidence for line in as_is)

    def _words(self, page: Pixels, quads: Sequence[NDArray[np.float32]]) -> list[list[Word]]:
        return read_strips(self._recogniser, [strip_of(page, quad) for quad in quads])

    def _detect(self, page: Pixels) -> Quads:
        first, second = _DETECTION_SIDES_PX
        quads = self._detector.quads(page, first)
        long_side = max(page.shape[:2])
        if long_side <= first or len(quads) == 0:
            return quads
        heights = [min(strip_size(quad)) for quad in quads]
        is_low = float(np.median(heights)) * first / long_side < _LOW_LINE_PX
        return self._detector.quads(page, second) if is_low else quads

    def _read(self, page: Pixels, quads: Quads) -> list[_Line]:
        """Returns the lines; of a tall one, which may run up or down, the reading that is surest."""
        ways = [readings(quad) for quad in quads]
        flat = [quad for quads_of_line in ways for quad in quads_of_line]
        words = iter(self._words(page, flat))
        found = []
        for quads_of_line in ways:
            lines = [_Line(quad, next(words)) for quad in quads_of_line]
            is_letter = lines[0].confidence >= _SURE
            found.append(lines[0] if is_letter else max(lines, key=lambda line: line.confidence))
        return found


def _text_line(line: _Line, degrees: int, width: int, height: int) -> TextLine:
    """Returns the line in pixels of the page as it was given, `width` by `height`; boxes are as its print."""

    def on_page(points: NDArray[np.float64]) -> NDArray[np.float64]:
        back = turned_back(points, degrees, width, height)
        return np.clip(back, 0, [width, height])

    corners = line.quad.astype(np.float64)
    first, last = line.words[0], line.words[-1]
    quad = on_page(_corners_of(first.left, last.right, corners)).reshape(-1).round(1).tolist()
    text = " ".join(word.text for word in line.words)
    words = tuple(
        _text_word(word, on_page(_corners_of(word.left, word.right, corners))) for word in line.words
    )
    return TextLine(text, round(line.confidence, 4), cast("Quad", tuple(quad)), words)


def _corners_of(left: float, right: float, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns `[4, 2]` the part of a detected quad between two columns of its strip, its margins left out."""
    width, _ = strip_size(corners.astype(np.float32))
    across = np.array([left, right]) / width
    upper = corners[0] + np.outer(across, corners[1] - corners[0])
    lower = corners[3] + np.outer(across, corners[2] - corners[3])
    margin = _MARGIN * (lower - upper)
    return np.concatenate([upper + margin, (lower - margin)[::-1]])


def _text_word(word: Word, corners: NDArray[np.float64]) -> TextWord:
    sides: Sequence[float] = np.concatenate([corners.min(axis=0), corners.max(axis=0)]).round(1).tolist()
    return TextWord(word.text, round(word.confidence, 4), *sides)
