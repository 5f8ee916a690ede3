"""The texts that are embedded: generated English, generated with unseen words, and real docstrings.

All are made from a fixed seed or from files every Python has, so no text is stored with the code and two
runs measure the same work.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.words import MAX_NAMES, name_of, vocabulary

NEW_WORD_SHARE = 0.1  # of a fresh stream's words; the results say what real text has
REAL_CHARS = 470  # about 128 tokens of docstring
# Tokens of a word with its mark, to aim at a length; the exact mean is counted and reported.
_TOKENS_OF_KNOWN, _TOKENS_OF_NEW = 1.77, 3.65
_ZIPF_POWER, _ZIPF_SHIFT = 1.1, 2.7  # Mandelbrot's form, which fits English better than 1/rank
_MARKS = np.array(["", ",", ".", "?", "!", ";", ":"])
_MARK_CHANCES = np.array([0.845, 0.06, 0.075, 0.006, 0.004, 0.006, 0.004])
# Only behind a line that ends in a colon, so that it never starts at a closing mark.
_DOCSTRING = re.compile(r':\n\s+[rR]?"""((?:(?!""").){120,})"""', re.DOTALL)
_PACKAGES = ("numpy", "scipy")  # TurboV2 needs them, so they are on every machine that runs this

Batches = list[list[str]]


@dataclasses.dataclass(frozen=True)
class Workload:
    """Requests, as lists of texts. `repeats`: they may be sent in rotation; else each is sent once."""

    name: str
    batches: Batches
    repeats: bool

    def texts(self) -> Iterator[str]:
        """Yields every text in order."""
        for batch in self.batches:
            yield from batch


def known(n_tokens: int, n_texts: int, n_batches: int) -> Workload:
    """Returns distinct requests to send in rotation: after the first round every word has been seen."""
    texts = _generate(n_texts * n_batches, n_tokens, new_share=0.0, first_name=0)
    return Workload(f"known-{n_tokens}", _cut(texts, n_texts), repeats=True)


def mixed(n_texts: int, n_batches: int, part: int = 0) -> Workload:
    """Returns requests of short, middling and long texts, six to three to one; each `part` has its own."""
    n = n_texts * n_batches
    n_long, n_middle = n // 10, n * 3 // 10
    sizes = ((144, n_long), (64, n_middle), (18, n - n_long - n_middle))
    made = [text for n_tokens, count in sizes for text in _generate(count, n_tokens, 0.0, 1_000 * part)]
    order = np.random.default_rng(part).permutation(n).tolist()
    return Workload("mixed", _cut([made[index] for index in order], n_texts), repeats=False)


def fresh(n_tokens: int, n_texts: int, n_batches: int) -> Workload:
    """Returns requests to send once: every text is new and a tenth of its words was never sent before."""
    texts = _generate(n_texts * n_batches, n_tokens, NEW_WORD_SHARE, first_name=MAX_NAMES // 4)
    return Workload(f"fresh-{n_tokens}", _cut(texts, n_texts), repeats=False)


def unseen(n_tokens: int, n_texts: int, n_batches: int) -> Workload:
    """Returns requests to send once, none of whose words was sent before: the worst case."""
    texts = _generate(n_texts * n_batches, n_tokens, new_share=1.0, first_name=MAX_NAMES // 2)
    return Workload(f"unseen-{n_tokens}", _cut(texts, n_texts), repeats=False)


def real(n_texts: int, n_batches: int, *, is_raw: bool = False) -> Workload:
    """Returns distinct windows of real docstrings, to send once.

    `is_raw` keeps line breaks and indents; else white space is one space, as most splitters leave it.
    """
    windows = _docstring_windows(is_raw)[: n_texts * n_batches]
    name = "raw-128" if is_raw else "real-128"
    return Workload(name, [b for b in _cut(windows, n_texts) if len(b) == n_texts], repeats=False)


def new_word_share(texts: Sequence[str]) -> float:
    """Returns the share of words in the second half of `texts` that nothing before held, parted at spaces."""
    half = len(texts) // 2
    seen = {word for text in texts[:half] for word in text.split(" ")}
    n_words = n_new = 0
    for text in texts[half:]:
        words = text.split(" ")
        n_words += len(words)
        n_new += len(set(words) - seen)
        seen.update(words)
    return n_new / n_words


def _cut(texts: list[str], n_texts: int) -> Batches:
    return [texts[i : i + n_texts] for i in range(0, len(texts), n_texts)]


@functools.cache
def _zipf() -> NDArray[np.float64]:
    chances = (np.arange(len(vocabulary())) + _ZIPF_SHIFT) ** -_ZIPF_POWER
    return np.cumsum(chances / chances.sum())


def _generate(n_texts: int, n_tokens: int, new_share: float, first_name: int) -> list[str]:
    if not n_texts:
        return []
    rng = np.random.default_rng(n_tokens + first_name)
    mean = n_tokens / (_TOKENS_OF_KNOWN * (1 - new_share) + _TOKENS_OF_NEW * new_share)
    lengths = rng.integers(max(1, round(0.75 * mean)), round(1.25 * mean) + 1, n_texts)
    ends = np.cumsum(lengths)
    n_words = int(ends[-1])
    ranks = np.searchsorted(_zipf(), rng.random(n_words)).clip(max=len(vocabulary()) - 1)
    plain = [vocabulary()[rank] for rank in ranks.tolist()]
    for count, index in enumerate(np.flatnonzero(rng.random(n_words) < new_share).tolist()):
        plain[index] = name_of(first_name + count)
    marks = rng.choice(_MARKS, n_words, p=_MARK_CHANCES)
    marks[ends - 1] = "."
    starts = np.concatenate(([True], np.isin(marks[:-1], [".", "?", "!"])))
    words = [
        (word.capitalize() if start else word) + mark
        for word, start, mark in zip(plain, starts.tolist(), marks.tolist(), strict=True)
    ]
    bounds = [0, *ends.tolist()]
    return [" ".join(words[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]


@functools.cache
def _docstring_windows(is_raw: bool) -> list[str]:
    windows: dict[str, None] = {}
    for path in _sources():
        for found in _DOCSTRING.finditer(path.read_text(encoding="utf-8", errors="ignore")):
            text = inspect.cleandoc(found[1])
            windows.update(dict.fromkeys(_windows(text if is_raw else " ".join(text.split()))))
    listed = list(windows)
    return [listed[index] for index in np.random.default_rng(0).permutation(len(listed)).tolist()]


def _sources() -> Iterator[Path]:
    library = Path(sysconfig.get_path("stdlib"))
    packages = [Path(sysconfig.get_path("purelib")) / name for name in _PACKAGES]
    for folder in (library, *packages):
        for path in sorted(folder.rglob("*.py")):
            if not {"site-packages", "test", "tests"} & set(path.relative_to(folder).parts):
                yield path


def _windows(text: str) -> Iterator[str]:
    """Yields pieces of about REAL_CHARS, cut at spaces; what is left over at the end is dropped."""
    while len(text) >= REAL_CHARS:
        cut = text.rfind(" ", 0, REAL_CHARS)
        if cut <= 0:
            return
        yield text[:cut].strip()
        text = text[cut:].strip()
