"""Pages as hOCR 1.2: XHTML that keeps where each line and word stands.

The format: http://kba.github.io/hocr-spec/1.2/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from turbov2.pages.lines import bounds_of
from turbov2.types import Block, TextLine, TextWord

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>{title}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
<meta name="ocr-system" content={system}/>
<meta name="ocr-capabilities" content="ocr_page ocr_par ocr_line ocrx_word"/>
</head>
<body>
"""
# XML 1.0 has no place for these, escaped or not.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class HocrPage(NamedTuple):
    """A page as hOCR wants it: number from 0, size in pixels, blocks in reading order."""

    number: int
    width_px: int
    height_px: int
    blocks: Sequence[Block]


def hocr(pages: Sequence[HocrPage], title: str, system: str) -> str:
    """Returns the document. title: of the file. system: what read it, and its version."""
    parts = [_HEAD.format(title=_text(title), system=quoteattr(_clean(system)))]
    for page in pages:
        parts += _page(page)
    return "".join([*parts, "</body>\n</html>\n"])


def _page(page: HocrPage) -> Iterator[str]:
    box = f"bbox 0 0 {page.width_px} {page.height_px}; ppageno {page.number}"
    yield f'<div class="ocr_page" id="page_{page.number + 1}" title="{box}">\n'
    n_lines = n_words = 0
    for at, block in enumerate(page.blocks, 1):
        yield f'<p class="ocr_par" id="par_{page.number + 1}_{at}" title="{_box(*block.box)}">\n'
        for line in (line for row in block.rows for line in row):
            n_lines += 1
            yield _line(line, f"{page.number + 1}_{n_lines}")
            for word in line.words:
                n_words += 1
                yield _word(word, f"{page.number + 1}_{n_words}")
            yield "</span>\n"
        yield "</p>\n"
    yield "</div>\n"


def _line(line: TextLine, number: str) -> str:
    box = _box(*bounds_of(line))
    text = "" if line.words else _text(line.text)
    return f'<span class="ocr_line" id="line_{number}" title="{box}">{text}'


def _word(word: TextWord, number: str) -> str:
    box = f"{_box(word.left, word.top, word.right, word.bottom)}; x_wconf {round(100 * word.confidence)}"
    return f'<span class="ocrx_word" id="word_{number}" title="{box}">{_text(word.text)}</span> '


def _box(left: float, top: float, right: float, bottom: float) -> str:
    return f"bbox {math.floor(left)} {math.floor(top)} {math.ceil(right)} {math.ceil(bottom)}"


def _text(text: str) -> str:
    return escape(_clean(text))


def _clean(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
