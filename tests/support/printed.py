"""Pages of printed text, drawn with the font that Pillow carries."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

LEFT_COLUMN = (
    "Every page of this old book was",
    "printed by hand in a small shop",
    "near the bridge, by two brothers",
    "who never learnt to read.",
)
RIGHT_COLUMN = (
    "The paper came from a mill high",
    "up in the valley, and the ink was",
    "made of walnuts, iron and wine",
    "that nobody wanted to drink.",
)
HEADING = "A Short History of Printing"


def two_columns() -> Image.Image:
    """Returns 1000 x 460: a heading over two columns of four lines."""
    page = Image.new("RGB", (1000, 460), "white")
    write(page, (HEADING,), 260, 30, 40)
    write(page, LEFT_COLUMN, 40, 140, 28)
    write(page, RIGHT_COLUMN, 530, 140, 28)
    return page


def write(page: Image.Image, lines: Sequence[str], left: int, top: int, size: int) -> None:
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for at, text in enumerate(lines):
        draw.text((left, top + round(1.6 * size) * at), text, "black", font)
