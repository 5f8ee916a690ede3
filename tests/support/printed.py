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
_BARS = (200, 420, 310, 640, 520, 700)  # pixels high


def two_columns() -> Image.Image:
    """Returns 1000 x 460: a heading over two columns of four lines."""
    page = Image.new("RGB", (1000, 460), "white")
    write(page, (HEADING,), 260, 30, 40)
    write(page, LEFT_COLUMN, 40, 140, 28)
    write(page, RIGHT_COLUMN, 530, 140, 28)
    return page


def text_page() -> Image.Image:
    """Returns an A4 page at 150 dpi: a heading over paragraphs, and nothing else."""
    page = Image.new("RGB", (1240, 1754), "white")
    write(page, (HEADING,), 140, 120, 40)
    for top in range(260, 1500, 290):
        write(page, (*LEFT_COLUMN, RIGHT_COLUMN[0]), 140, top, 28)
    return page


def chart_page() -> Image.Image:
    """Returns the same page with a bar chart over most of its paragraphs."""
    page = text_page()
    draw = ImageDraw.Draw(page)
    draw.rectangle((100, 500, 1140, 1600), "white")
    draw.line((200, 560, 200, 1300, 1080, 1300), "black", 4)
    for at, height in enumerate(_BARS):
        left = 240 + 140 * at
        draw.rectangle((left, 1300 - height, left + 90, 1300), (40, 90 + 20 * at, 180), "black")
        write(page, (f"Q{at + 1}",), left + 20, 1315, 24)
        draw.line((190, 1300 - 140 * at, 200, 1300 - 140 * at), "black", 3)
        write(page, (str(20 * at),), 140, 1285 - 140 * at, 24)
    return page


def write(page: Image.Image, lines: Sequence[str], left: int, top: int, size: int) -> None:
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for at, text in enumerate(lines):
        draw.text((left, top + round(1.6 * size) * at), text, "black", font)
