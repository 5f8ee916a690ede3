"""The bytes that n8n's HTTP Request node sends. tests/clients/test_n8n.py compares them with a real n8n's."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec

from tests.support.recorder import Sent

AGENT = "axios/1.12.0"
BOUNDARY = (
    "--------------------------1a995e125b7993bc93f2d470"  # 26 dashes and 24 hex digits, always new ones
)
_ACCEPT = (
    "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7"
)


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
    agent: str = AGENT

    @classmethod
    def of(cls, seen: Sent) -> Target:
        """Returns the target of a recorded request."""
        boundary = seen.header("content-type").partition("boundary=")[2]
        return cls(seen.header("host"), seen.path, boundary, seen.header("user-agent"))


def form(target: Target, *parts: Part) -> Sent:
    """Returns the node's "Form-Data" body. Without any part n8n sends no byte, not even a boundary."""
    boundary = target.boundary.encode()
    pieces = [b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, _head_of(part), part.value) for part in parts]
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


def _head_of(part: Part) -> bytes:
    """Returns a part's headers. A file's name stands there as it is: UTF-8, quotes without a backslash."""
    head = f'Content-Disposition: form-data; name="{part.name}"'
    if part.file_name is not None:
        head += f'; filename="{part.file_name}"'
    return (head + (f"\r\nContent-Type: {part.media_type}" if part.media_type else "")).encode()


def _sent(target: Target, content_type: str, body: bytes, *, is_measured: bool = False) -> Sent:
    """is_measured: n8n gives the length itself, in small letters, before its HTTP library would."""
    length, agent = str(len(body)), f"User-Agent: {target.agent}"
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
