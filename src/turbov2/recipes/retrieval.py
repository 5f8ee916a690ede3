"""A retrieval set: documents, queries, and which documents answer which query. One JSONL file.

A line is `{"id": "d1", "text": "..."}`, a document, or `{"query": "...", "positives": ["d1"]}`. Lines may
come in any order; blank ones are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from turbov2.errors import InvalidRequest

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class RetrievalSet(msgspec.Struct, frozen=True):
    """Queries over a corpus. `positives[i]` holds the indices into `documents` that answer `queries[i]`."""

    documents: tuple[str, ...]
    queries: tuple[str, ...]
    positives: tuple[frozenset[int], ...]


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    id: _Text | None = None
    text: _Text | None = None
    query: _Text | None = None
    positives: Annotated[list[_Text], msgspec.Meta(min_length=1)] | None = None


def read_set(path: Path) -> RetrievalSet:
    """Returns the set in this file. Raises: OSError, InvalidRequest that names the bad line."""
    with path.open("rb") as file:
        return parse_set(file)


def parse_set(lines: Iterable[bytes]) -> RetrievalSet:
    """Returns the set in these JSONL lines. Raises: InvalidRequest that names the bad line."""
    documents: dict[str, str] = {}
    queries: list[tuple[int, str, list[str]]] = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        line = _parse(number, text)
        if line.id is not None and line.text is not None and line.query is None and line.positives is None:
            if line.id in documents:
                raise InvalidRequest(f"line {number}: a second document has the id '{line.id}'")
            documents[line.id] = line.text
        elif line.query is not None and line.positives is not None and line.id is None and line.text is None:
            queries.append((number, line.query, line.positives))
        else:
            raise InvalidRequest(f'line {number} has neither "id" and "text" nor "query" and "positives"')
    return _join(documents, queries)


def _parse(number: int, text: bytes) -> _Line:
    try:
        return msgspec.json.decode(text, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"line {number} is not a line of a retrieval set: {error}") from error


def _join(documents: dict[str, str], queries: list[tuple[int, str, list[str]]]) -> RetrievalSet:
    if not documents or not queries:
        raise InvalidRequest(
            f"a retrieval set needs documents and queries; here are {len(documents)} and {len(queries)}"
        )
    index_of = {name: index for index, name in enumerate(documents)}
    for number, _, names in queries:
        unknown = next((name for name in names if name not in index_of), None)
        if unknown is not None:
            raise InvalidRequest(f"line {number}: no document has the id '{unknown}'")
    return RetrievalSet(
        documents=tuple(documents.values()),
        queries=tuple(query for _, query, _ in queries),
        positives=tuple(frozenset(index_of[name] for name in names) for _, _, names in queries),
    )
