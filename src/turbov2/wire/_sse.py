"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from turbov2.wire._lines import on_one_line

SSE = b"text/event-stream; charset=utf-8"
HEARTBEAT = b": still here\n\n"  # a comment, so that proxies see life


def sse_data(line: bytes) -> bytes:
    """Returns the event without a name. line: JSON without line breaks."""
    return b"data: %b\n\n" % on_one_line(line)


def sse_event(name: str, line: bytes) -> bytes:
    """Returns the event. line: JSON without line breaks."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), on_one_line(line))
