"""Blocks as chunks: parts of a page under one heading, none longer than asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from turbov2.pages.lines import around
from turbov2.types.documents import Block, Box, Chunk

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|(?<=[。！？])")


def chunks_of(blocks: Sequence[Block], max_chars: int) -> tuple[Chunk, ...]:
    """Returns the text of the blocks in chunks of at most `max_chars`.

    A heading begins one; a table is one of its own, as Markdown, its heading row repeated where it is cut.
    What is too long by itself is cut between sentences, else between words, else anywhere.
    """
    found: list[Chunk] = []
    open_parts: list[tuple[str, Box]] = []
    heading = open_heading = ""
    is_only_headings = True
    n_open = 0  # characters of the open parts, with what stands between them

    def close() -> None:
        nonlocal n_open
        n_open = 0
        if open_parts:
            text = "\n\n".join(text for text, _ in open_parts)
            found.append(Chunk(text, around(box for _, box in open_parts), open_heading))
            open_parts.clear()

    for block in blocks:
        if block.kind == "heading":
            if not is_only_headings:
                close()
            heading, is_only_headings = block.text, True
        for part in _parts(block, max_chars):
            is_apart = block.kind == "table" and not is_only_headings
            if open_parts and (n_open + len(part) > max_chars or is_apart):
                close()
            if not open_parts:
                open_heading = heading
            open_parts.append((part, block.box))
            n_open += len(part) + 2
            if block.kind != "heading":
                is_only_headings = False
            if block.kind == "table":
                close()
    close()
    return tuple(found)


def _parts(block: Block, max_chars: int) -> Iterator[str]:
    if len(block.text) <= max_chars:
        yield block.text
    elif block.kind == "table":
        yield from _table_parts(block.text, max_chars)
    else:
        yield from _packed(_pieces(block.text, max_chars), max_chars)


def _table_parts(text: str, max_chars: int) -> Iterator[str]:
    lines = text.split("\n")
    head = "\n".join(lines[:2]) + "\n"
    if 2 * len(head) > max_chars:
        head = ""
    for part in _packed((f"{line}\n" for line in lines[2:]), max_chars - len(head)):
        for start in range(0, len(part), max_chars - len(head)):  # a single row may be too long
            yield (head + part[start : start + max_chars - len(head)]).rstrip("\n")


def _packed(pieces: Iterator[str], max_chars: int) -> Iterator[str]:
    """Yields the pieces, as many together as fit."""
    text = ""
    for piece in pieces:
        if text and len(text) + len(piece.rstrip()) > max_chars:
            yield text.rstrip()
            text = ""
        text += piece
    if text.strip():
        yield text.rstrip()


def _pieces(text: str, max_chars: int) -> Iterator[str]:
    """Yields sentences with the blanks behind them; words, or parts of words, of one that is too long."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        sentence = text[start:end]
        if len(sentence.rstrip()) <= max_chars:
            yield sentence
            continue
        for word in re.findall(r"\S+\s*", sentence):
            yield from (word[at : at + max_chars] for at in range(0, len(word), max_chars))
