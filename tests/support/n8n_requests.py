"""The bytes that n8n's HTTP Request node sends. tests/clients/test_n8n.py compares them with a real n8n's."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec

from tests.support.recorder import Sent

BOUNDARY = (
    "--------------------------1a995e125b7993bc93f2d470"  # 26 dashes and 24 hex digits, always new ones
)
_ACCEPT = (
    "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7"
)


class Release(msgspec.Struct, frozen=True):
    """How a release of n8n sends forms.

    quote: what stands for a quote in a file's name; name_in_memory: of a file that has none.
    """

    agent: str
    quote: str
    name_in_memory: str | None


N8N_2_8 = Release("axios/1.12.0", '"', None)
N8N_2_41 = Release("n8n", "%22", "file")
RELEASES = {release.agent: release for release in (N8N_2_8, N8N_2_41)}


class Part(msgspec.Struct, frozen=True):
    """A field of a form. media_type: only of a file; file_name: None where n8n holds it in memory alone."""

    name: str
    value: bytes
    media_type: str = ""
    file_name: str | None = None


class Target(msgspec.Struct, frozen=True):
    """Where a request goes, and what differs between two requests of the same content."""

    host: str
    path: str
    boundary: str = BOUNDARY
    release: Release = N8N_2_8

    @classmethod
    def of(cls, seen: Sent) -> Target:
        """Returns the target of a recorded request."""
        boundary = seen.header("content-type").partition("boundary=")[2]
        return cls(seen.header("host"), seen.path, boundary, RELEASES[seen.header("user-agent")])


def form(target: Target, *parts: Part) -> Sent:
    """Returns the node's "Form-Data" body. Without any part n8n sends no byte, not even a boundary."""
    boundary, release = target.boundary.encode(), target.release
    pieces = [b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, _head_of(part, release), part.value) for part in parts]
    body = b"".join([*pieces, b"--%s--\r\n" % boundary]) if parts else b""
    return _sent(target, f"multipart/form-data; boundary={target.boundary}", body, is_measured=True)


def file(target: Target, payload: bytes, media_type: str) -> Sent:
    """Returns the node's "n8n Binary File" body: the bytes as they are."""
    return _sent(target, media_type, payload, is_measured=True)


def sent_json(target: Target, body: dict[str, Any]) -> Sent:
    """Returns the node's "JSON" body: no blanks, UTF-8 unescaped, no charset in the content type."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return _sent(target, "application/json", text.encode())


def url_encoded(target: Target, **fields: str) -> Sent:
    """Returns the node's "Form Urlencoded" body."""
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
    return _sent(target, "application/x-www-form-urlencoded", text.encode())


def in_chunks(sent: Sent) -> Sent:
    """Returns a form with an empty file as n8n 2.41 sends it: in two pieces, and without a length."""
    lines = [line for line in sent.head.split(b"\r\n") if not line.startswith(b"content-length")]
    at = sent.body.index(b"\r\n\r\n") + 4
    pieces = (sent.body[:at], sent.body[at:], b"")
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return Sent(b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]), body)


def _head_of(part: Part, release: Release) -> bytes:
    """Returns a part's headers. A file's name stands there in UTF-8; nothing but quotes may be escaped."""
    head = f'Content-Disposition: form-data; name="{part.name}"'
    is_file = bool(part.media_type)
    file_name = release.name_in_memory if is_file and part.file_name is None else part.file_name
    if file_name is not None:
        head += f'; filename="{file_name.replace(chr(34), release.quote)}"'
    return (head + (f"\r\nContent-Type: {part.media_type}" if is_file else "")).encode()


def _sent(target: Target, content_type: str, body: bytes, *, is_measured: bool = False) -> Sent:
    """is_measured: n8n gives the length itself, in small letters, before its HTTP library would."""
    length, agent = str(len(body)), f"User-Agent: {target.release.agent}"
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Accept: {_ACCEPT}",
        f"Content-Type: {content_type}",
        *((f"content-length: {length}", agent) if is_measured else (agent, f"Content-Length: {length}")),
        "Accept-Encoding: gzip, compress, deflate, br",
        f"Host: {target.host}",
        "Connection: close",
    ]
    return Sent("\r\n".join(lines).encode(), body)
