"""Answers that are told in parts: which framing a request wants, and its frames."""

from __future__ import annotations

from turbov2.wire._forms import Form
from turbov2.wire._http import NDJSON, Request
from turbov2.wire._lines import on_one_line
from turbov2.wire._sse import SSE, sse_event


def stream_kind(request: Request, form: Form) -> bytes | None:
    """Returns the media type of a stream, None for a whole answer; `stream` goes before the Accept header."""
    accepted = (request.header(b"accept") or b"").lower()
    kind = SSE if b"text/event-stream" in accepted else NDJSON if NDJSON in accepted else None
    return (kind or NDJSON) if form.flag("stream", kind is not None) else None


def frame(name: str, line: bytes, kind: bytes) -> bytes:
    """Returns a frame of the stream. line: JSON without line breaks."""
    return sse_event(name, line) if kind == SSE else on_one_line(line) + b"\n"
