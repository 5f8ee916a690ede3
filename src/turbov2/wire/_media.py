"""Files in requests: multipart forms, JSON with base64 or a data URI, or the bare bytes of a file."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import pybase64

from turbov2.errors import InvalidRequest
from turbov2.wire._body import parse_aside, parse_json
from turbov2.wire._forms import Form, FormReader, is_file_type, media_type
from turbov2.wire._http import Request

_JSON = msgspec.json.Decoder(dict[str, Any])
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_URL_ENCODED = b"application/x-www-form-urlencoded"
_PIECE_BYTES = 1 << 20


class MediaForm(Form, frozen=True):
    """What a request brought: a file's bytes, None if there was none, and all other fields."""

    payload: bytes | None

    def required(self, name: str) -> bytes:
        """Returns the file. Raises: InvalidRequest that says how to send one."""
        if self.payload is None:
            raise InvalidRequest(
                f"{name} is required: send a form with a file, or JSON with base64 or a data URI", param=name
            )
        if not self.payload:
            raise InvalidRequest(f"{name} is empty: 0 bytes came", param=name)
        return self.payload


async def read_media(request: Request, names: Sequence[str]) -> MediaForm:
    """Returns the request's file, which stands under one of `names`, and its fields.

    In a form any part with a file name counts as well. Raises: InvalidRequest, BodyTooLarge.
    """
    return await parse_aside(await request.body(), partial(_parse, request, names))


def _parse(request: Request, names: Sequence[str], body: bytes) -> MediaForm:
    kind = media_type(request.header(b"content-type") or b"")
    if kind == b"multipart/form-data":
        return _parse_form(request, body, names)
    if is_file_type(kind):
        return MediaForm(dict(request.query()), body)
    if kind == _URL_ENCODED and body.lstrip()[:1] not in (b"", b"{"):  # curl -d says so of JSON as well
        raise InvalidRequest(
            f"a URL-encoded form carries no {names[0]} here; send multipart/form-data or JSON"
        )
    fields = parse_json(body, _JSON)
    name = next((name for name in names if fields.get(name) is not None), None)
    payload = None if name is None else unpack_file(fields.pop(name), name)
    return MediaForm(fields, payload)


def unpack_file(value: object, name: str) -> bytes:
    """Returns the bytes of a data URI or of bare base64. Raises: InvalidRequest."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is {type(value).__name__}, expected base64 text", param=name)
    if _URL.match(value):
        raise InvalidRequest(
            f"{name} is a URL, and URLs are not fetched here; send the file itself", param=name
        )
    start = 0
    if value[:5].lower() == "data:":
        head = _DATA_URI.match(value)
        if head is None or not head[0].lower().endswith(";base64,"):
            raise InvalidRequest(
                f"{name} is a data URI without base64; send data:image/png;base64,...", param=name
            )
        start = head.end()
    try:
        return _unpack(value[start:].encode("ascii"))
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{name} is not valid base64", param=name) from error


def _unpack(text: bytes) -> bytes:
    """Line breaks, the URL alphabet and missing padding are met in practice."""
    if b"\n" in text or b"\r" in text or b" " in text:
        text = b"".join(text.split())
    if b"-" in text or b"_" in text:
        text = text.translate(bytes.maketrans(b"-_", b"+/"))
    return pybase64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def _parse_form(request: Request, body: bytes, names: Sequence[str]) -> MediaForm:
    if not body:  # n8n's form without any field
        return MediaForm({}, None)
    payload = bytearray()
    reader = FormReader(request.header(b"content-type") or b"", payload.extend, names, len(body))
    for start in range(0, len(body), _PIECE_BYTES):
        reader.write(body[start : start + _PIECE_BYTES])
    reader.end()
    if reader.file_text is not None:  # curl -F image="$(base64 page.png)"
        return MediaForm(reader.fields, unpack_file(*reader.file_text))
    return MediaForm(reader.fields, bytes(payload) if reader.has_file else None)
