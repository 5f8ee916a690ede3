"""Page ranges as people write them."""

from __future__ import annotations

import re

from turbov2.errors import InvalidRequest

_PART = re.compile(r"\s*(\d{1,9})?\s*(-)?\s*(\d{1,9})?\s*")


def page_indices(text: str, n_pages: int) -> list[int]:
    """Returns the pages, from 0, that "1-3,7", "5-" or "-2" means; each once, in ascending order.

    An empty text means all of them. Raises: InvalidRequest for what is no range or leads past the end.
    """
    if not text.strip():
        return list(range(n_pages))
    found: set[int] = set()
    for part in text.split(","):
        first, last = _ends(part, n_pages)
        found.update(range(first - 1, last))
    return sorted(found)


def _ends(part: str, n_pages: int) -> tuple[int, int]:
    match = _PART.fullmatch(part)
    if match is None or not (match[1] or match[3]):
        raise InvalidRequest(f"'{part.strip()}' is not a page range such as 1-3,7", param="pages")
    if match[2] is None and match[1] and match[3]:  # "1 3"
        raise InvalidRequest(f"'{part.strip()}' is not a page range such as 1-3,7", param="pages")
    first = int(match[1] or 1)
    last = int(match[3] or n_pages) if match[2] else first
    if not 1 <= first <= last <= n_pages:
        pages = "1 page" if n_pages == 1 else f"{n_pages} pages"
        message = f"pages '{part.strip()}' do not lie within the document, which has {pages}"
        raise InvalidRequest(message, param="pages")
    return first, last
