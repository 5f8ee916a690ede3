"""Whether a PDF page's text layer says what the page shows: a pure judgement over counts.

The bounds are ours: of some 1,500 pages of 500 Debian manuals, most of them set by TeX, 97 % pass, and what
does not is mostly formulas, music and letters torn apart. No scanned collection has been tried.
"""

from __future__ import annotations

import re

import numpy as np

from turbov2.media.objects import Found, covered_share
from turbov2.media.results import Soundness, Verdict
from turbov2.media.words import PageFrame, PageText

_MOST_UNMAPPED = 0.02  # share of glyphs
_MOST_INVISIBLE = 0.5
_SCAN_IMAGE_SHARE = 0.5  # of the page; with fewer words than the next, the words are a stamp
_SCAN_WORDS = 30
_LEAST_WORDS = 50
_LEAST_CHARS = 100  # before text is judged by its letters
_LEAST_ALPHANUMERIC = 0.4
_LEAST_VOWELS, _MOST_VOWELS = 0.15, 0.7  # of Latin letters; 0.37 to 0.48 in European languages
_MOST_SINGLE_LETTERS = 0.5  # share of words
_LATIN = re.compile("[A-Za-z]")
_LEADERS = re.compile(r"[.·_…•\-–—=*]")  # of tables of contents and forms


def judge(text: PageText, found: Found, frame: PageFrame) -> Soundness:
    """Returns the verdict; the first in order of how much is wrong."""
    share = covered_share(text.boxes.astype(np.float64), frame)
    return Soundness(
        _verdict(text, found),
        n_chars=text.n_chars,
        n_unmapped=text.n_unmapped,
        n_invisible=min(found.n_invisible, text.n_chars),
        n_outside=text.n_outside,
        text_share=share,
    )


def _verdict(text: PageText, found: Found) -> Verdict:
    if not text.words:
        return "none"
    if text.n_unmapped > _MOST_UNMAPPED * text.n_chars:
        return "unmapped"
    if found.n_invisible > _MOST_INVISIBLE * text.n_chars:
        return "hidden"
    if found.summary.image_share >= _SCAN_IMAGE_SHARE and len(text.words) < _SCAN_WORDS:
        return "scan"
    return _verdict_of_words(text.words)


def _verdict_of_words(words: list[str]) -> Verdict:
    """Returns what the letters say: nothing against the text when there are too few."""
    characters = "".join(_LEADERS.sub("", word) for word in words)
    if len(characters) < _LEAST_CHARS:
        return "sound"
    if sum(map(str.isalnum, characters)) < _LEAST_ALPHANUMERIC * len(characters):
        return "garbled"
    lettered = [word for word in words if _LATIN.search(word)]
    n_single = sum(len(word) == 1 for word in lettered)
    if len(lettered) >= _LEAST_WORDS and n_single > _MOST_SINGLE_LETTERS * len(lettered):
        return "scattered"
    letters = [letter for letter in characters.lower() if "a" <= letter <= "z"]
    vowels = sum(letter in "aeiouy" for letter in letters) / max(1, len(letters))
    if len(letters) >= _LEAST_CHARS and not _LEAST_VOWELS <= vowels <= _MOST_VOWELS:
        return "garbled"
    return "sound"
