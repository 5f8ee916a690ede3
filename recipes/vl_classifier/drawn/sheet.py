"""The sheet that is drawn on: points for units, pixels underneath, and a list of the HIGH content on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import skia
from numpy.typing import NDArray

from recipes.vl_classifier.drawn.shaping import draw_shaped, needs_shaping
from recipes.vl_classifier.rule import Box

Color = tuple[int, int, int]
Point = tuple[float, float]

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)


def _paint(color: Color, alpha: int = 255) -> skia.Paint:
    return skia.Paint(AntiAlias=True, Color=skia.ColorSetARGB(alpha, *color))


def _stroke(color: Color, width: float, dash: Sequence[float] = ()) -> skia.Paint:
    paint = _paint(color)
    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(width)
    if dash:
        paint.setPathEffect(skia.DashPathEffect.Make(list(dash), 0.0))
    return paint


class Sheet:
    """A page of `width` x `height` points, drawn at `pixels_per_pt`."""

    def __init__(self, width: float, height: float, pixels_per_pt: float, background: Color = WHITE) -> None:
        self.width = width
        self.height = height
        self.boxes: list[Box] = []
        self._bgra = np.empty((round(height * pixels_per_pt), round(width * pixels_per_pt), 4), np.uint8)
        self._bgra[:] = (*background[::-1], 255)
        self._surface = skia.Surface(self._bgra, colorType=skia.kBGRA_8888_ColorType)
        self.canvas = self._surface.getCanvas()
        self.canvas.scale(pixels_per_pt, pixels_per_pt)

    def pixels(self) -> NDArray[np.uint8]:
        """The page as BGR (height, width, 3), or as grayscale (height, width) if it has no colour."""
        bgr = self._bgra[:, :, :3]
        blue, green, red = cv2.split(bgr)
        spread = max(int(cv2.absdiff(blue, green).max()), int(cv2.absdiff(red, green).max()))
        return green if spread < 8 else np.ascontiguousarray(bgr)

    def mark(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        """Note HIGH content, in points."""
        left, right = max(x, 0.0) / self.width, min(x + width, self.width) / self.width
        top, bottom = max(y, 0.0) / self.height, min(y + height, self.height) / self.height
        if right > left and bottom > top:
            self.boxes.append((kind, round(left, 4), round(top, 4), round(right, 4), round(bottom, 4)))

    def text(
        self, x: float, y: float, text: str, font: skia.Font, ink: Color = BLACK, align: str = "left"
    ) -> None:
        """Write one line with its baseline at `y`; `align` says which end of it stands at `x`."""
        if align != "left":
            width = font.measureText(text)
            x -= width if align == "right" else width / 2
        if needs_shaping(text):
            draw_shaped(self.canvas, x, y, text, font, _paint(ink))
        else:
            self.canvas.drawString(text, x, y, font, _paint(ink))

    def turned_text(
        self,
        x: float,
        y: float,
        text: str,
        font: skia.Font,
        ink: Color,
        degrees: float,
        align: str = "center",
    ) -> None:
        """Write one line turned clockwise about (x, y)."""
        self.canvas.save()
        self.canvas.translate(x, y)
        self.canvas.rotate(degrees)
        self.text(0.0, 0.0, text, font, ink, align)
        self.canvas.restore()

    def line(
        self, x0: float, y0: float, x1: float, y1: float, ink: Color = BLACK, width: float = 0.5,
        dash: Sequence[float] = (),
    ) -> None:  # fmt: skip
        """Draw a straight stroke."""
        self.canvas.drawLine(x0, y0, x1, y1, _stroke(ink, width, dash))

    def polyline(
        self, points: Sequence[Point], ink: Color = BLACK, width: float = 0.5, dash: Sequence[float] = (),
        fill: Color | None = None, closed: bool = False, alpha: int = 255,
    ) -> None:  # fmt: skip
        """Draw straight pieces through points, filled under the stroke when `fill` is given."""
        path = skia.Path()
        path.addPoly([skia.Point(float(x), float(y)) for x, y in points], closed)
        self._path(path, ink, width, dash, fill, alpha)

    def curve(
        self, points: Sequence[Point], ink: Color = BLACK, width: float = 0.5, dash: Sequence[float] = (),
        fill: Color | None = None, closed: bool = False, alpha: int = 255,
    ) -> None:  # fmt: skip
        """Draw a smooth curve through points (Catmull-Rom pieces)."""
        path = skia.Path()
        path.addPoly([skia.Point(*p) for p in smooth(points, closed)], closed)
        self._path(path, ink, width, dash, fill, alpha)

    def _path(
        self,
        path: skia.Path,
        ink: Color | None,
        width: float,
        dash: Sequence[float],
        fill: Color | None,
        alpha: int,
    ) -> None:
        if fill is not None:
            self.canvas.drawPath(path, _paint(fill, alpha))
        if ink is not None and width > 0:
            self.canvas.drawPath(path, _stroke(ink, width, dash))

    def rect(
        self, x: float, y: float, width: float, height: float, fill: Color | None = None,
        ink: Color | None = None, stroke: float = 0.5, radius: float = 0.0, dash: Sequence[float] = (),
        alpha: int = 255,
    ) -> None:  # fmt: skip
        """Draw a rectangle, filled, outlined or both."""
        shape = skia.Rect.MakeXYWH(x, y, width, height)
        if fill is not None:
            self.canvas.drawRoundRect(shape, radius, radius, _paint(fill, alpha))
        if ink is not None:
            self.canvas.drawRoundRect(shape, radius, radius, _stroke(ink, stroke, dash))

    def ellipse(
        self, x: float, y: float, radius_x: float, radius_y: float, fill: Color | None = None,
        ink: Color | None = None, stroke: float = 0.5, alpha: int = 255, dash: Sequence[float] = (),
    ) -> None:  # fmt: skip
        """Draw an ellipse about (x, y)."""
        shape = skia.Rect.MakeLTRB(x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        if fill is not None:
            self.canvas.drawOval(shape, _paint(fill, alpha))
        if ink is not None:
            self.canvas.drawOval(shape, _stroke(ink, stroke, dash))

    def wedge(
        self, x: float, y: float, radius: float, start: float, sweep: float, fill: Color | None,
        ink: Color | None = None, stroke: float = 0.5,
    ) -> None:  # fmt: skip
        """Draw a piece of a pie; angles in degrees, clockwise from the right."""
        shape = skia.Rect.MakeLTRB(x - radius, y - radius, x + radius, y + radius)
        if fill is not None:
            self.canvas.drawArc(shape, start, sweep, True, _paint(fill))
        if ink is not None:
            self.canvas.drawArc(shape, start, sweep, True, _stroke(ink, stroke))

    def arc(
        self, x: float, y: float, radius: float, start: float, sweep: float, ink: Color, stroke: float
    ) -> None:
        """Draw a piece of a circle's line; angles as in `wedge`."""
        shape = skia.Rect.MakeLTRB(x - radius, y - radius, x + radius, y + radius)
        self.canvas.drawArc(shape, start, sweep, False, _stroke(ink, stroke))

    def hatch(
        self, x: float, y: float, width: float, height: float, ink: Color, gap: float, slope: int
    ) -> None:
        """Fill a rectangle with parallel strokes: slope 1 rises, -1 falls, 0 lies."""
        self.canvas.save()
        self.canvas.clipRect(skia.Rect.MakeXYWH(x, y, width, height))
        rise = abs(slope) * width
        at = y - rise
        while at < y + height + rise:
            self.line(x, at + rise * (slope > 0), x + width, at + rise * (slope < 0), ink, 0.4)
            at += gap
        self.canvas.restore()

    def picture(self, pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> None:
        """Lay an RGB picture (height, width, 3) into a rectangle."""
        rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
        image = skia.Image.fromarray(np.ascontiguousarray(rgba), colorType=skia.kRGBA_8888_ColorType)
        sampling = skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
        self.canvas.drawImageRect(image, skia.Rect.MakeXYWH(x, y, width, height), sampling)

    def arrow(
        self, x0: float, y0: float, x1: float, y1: float, ink: Color = BLACK, width: float = 0.6,
        head: float = 4.0, dash: Sequence[float] = (), hollow: bool = False,
    ) -> None:  # fmt: skip
        """Draw a stroke with a head of `head` points at its end."""
        self.line(x0, y0, x1, y1, ink, width, dash)
        angle = math.atan2(y1 - y0, x1 - x0)
        sides = [
            (x1 - head * math.cos(angle + turn), y1 - head * math.sin(angle + turn)) for turn in (0.4, -0.4)
        ]
        tip = [sides[0], (x1, y1), sides[1]]
        self.polyline(tip, ink, width, fill=WHITE if hollow else ink, closed=True)


def smooth(points: Sequence[Point], closed: bool = False, pieces: int = 8) -> list[Point]:
    """Points of a Catmull-Rom curve through `points`, `pieces` to each gap."""
    count = len(points)
    if count < 3:
        return list(points)
    at = (lambda i: points[i % count]) if closed else (lambda i: points[min(max(i, 0), count - 1)])
    out: list[Point] = []
    for i in range(count if closed else count - 1):
        corners = [at(i + k) for k in (-1, 0, 1, 2)]
        out.extend(_between(corners, step / pieces) for step in range(pieces))
    return out if closed else [*out, points[-1]]


def _between(corners: Sequence[Point], t: float) -> Point:
    weights = (
        -0.5 * t + t * t - 0.5 * t**3,
        1 - 2.5 * t * t + 1.5 * t**3,
        0.5 * t + 2 * t * t - 1.5 * t**3,
        -0.5 * t * t + 0.5 * t**3,
    )
    x = sum(w * c[0] for w, c in zip(weights, corners, strict=True))
    y = sum(w * c[1] for w, c in zip(weights, corners, strict=True))
    return x, y
