"""Which lane a request waits in when its sender did not say."""

from __future__ import annotations

from turbov2.types import Lane

# A person or an agent asks for a few texts; an ingest sends hundreds.
INTERACTIVE_ITEMS = 8
INTERACTIVE_CHARS = 16_384
BULK_ITEMS = 64
BULK_CHARS = 131_072


def lane_of(asked: Lane | None, n_items: int, n_chars: int) -> Lane:
    """Returns the lane that was asked for, else the one that fits the request's size."""
    if asked is not None:
        return asked
    if n_items <= INTERACTIVE_ITEMS and n_chars <= INTERACTIVE_CHARS:
        return "interactive"
    return "bulk" if n_items >= BULK_ITEMS or n_chars >= BULK_CHARS else "default"
