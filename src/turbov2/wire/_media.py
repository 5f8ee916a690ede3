"""Files in requests: multipart forms, JSON with base64 or a data URI, or the bare bytes of a file."""

from __future__ import annotations

import binascii
import io
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import pybase64
from python_multipart import create_form_parser
from python_multipart.exceptions import FormParserError

from turbov2.errors import InvalidRequest
from turbov2.wire._body import parse_aside, parse_json
from turbov2.wire._http import Request
from turbov2.wire._keep_alive import parse_keep_alive_s

_JSON = msgspec.json.Decoder(dict[str, Any])
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 65_536
_URL_ENCODED = b"application/x-www-form-urlencoded"


class MediaForm(msgspec.Struct, frozen=True):
    """What a request brought: a file's bytes, None if there was none, and all other fields."""

    payload: bytes | None
    fields: dict[str, Any]

    def required(self, name: str) -> bytes:
        """Returns the file. Raises: InvalidRequest that says how to send one."""
        if self.payload is None:
            raise InvalidRequest(
                f"{name} is required: send a form with a file, or JSON with base64 or a data URI", param=name
            )
        if not self.payload:
            raise InvalidRequest(f"{name} is empty: 0 bytes came", param=name)
        return self.payload

    def text(self, name: str, default: str = "") -> str:
        """Returns a text field. Raises: InvalidRequest for another type."""
        value = self.fields.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise InvalidRequest(f"{name} is {type(value).__name__}, expected a string", param=name)
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Returns a whole number, which a form sends as text. Raises: InvalidRequest."""
        value = self.fields.get(name)
        if value is None or value == "":
            return default
        is_whole = not isinstance(value, bool) and re.fullmatch(r"[+-]?\d{1,9}", str(value)) is not None
        if not is_whole or not low <= int(value) <= high:
            raise InvalidRequest(
                f"{name} is {str(value)[:40]!r}, expected a whole number from {low} to {high}", param=name
            )
        return int(value)

    def number(self, name: str, low: float, high: float) -> float | None:
        """Returns a number, which a form sends as text, or None. Raises: InvalidRequest."""
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not low <= number <= high:
            raise InvalidRequest(
                f"{name} is {str(value)[:40]!r}, expected a number from {low:g} to {high:g}", param=name
            )
        return number

    def keep_alive_s(self) -> float | None:
        """Returns how many seconds the model is to stay, None if not said. Raises: InvalidRequest."""
        value: Any = self.fields.get("keep_alive")
        if value is not None and not isinstance(value, str | int | float):
            raise InvalidRequest(
                "keep_alive is neither a number of seconds nor a time such as 5m", param="keep_alive"
            )
        return parse_keep_alive_s(value)

    def flag(self, name: str, default: bool) -> bool:
        """Returns a truth value, which a form sends as text. Raises: InvalidRequest."""
        value = self.fields.get(name)
        if value is None or value == "":
            return default
        said = str(value).lower()
        if said in ("true", "1", "yes", "on"):
            return True
        if said in ("false", "0", "no", "off"):
            return False
        raise InvalidRequest(f"{name} is {said[:40]!r}, expected true or false", param=name)


async def read_media(request: Request, names: Sequence[str]) -> MediaForm:
    """Returns the request's file, which stands under one of `names`, and its fields.

    In a form any part with a file name counts as well. Raises: InvalidRequest, BodyTooLarge.
    """
    return await parse_aside(await request.body(), partial(_parse, request, names))


def _parse(request: Request, names: Sequence[str], body: bytes) -> MediaForm:
    kind = _media_type(request.header(b"content-type") or b"")
    if kind == b"multipart/form-data":
        return _parse_form(request, body, names)
    if _is_file_type(kind):
        return MediaForm(body, dict(request.query()))
    if kind == _URL_ENCODED and body.lstrip()[:1] not in (b"", b"{"):  # curl -d says so of JSON as well
        raise InvalidRequest(
            f"a URL-encoded form carries no {names[0]} here; send multipart/form-data or JSON"
        )
    fields = parse_json(body, _JSON)
    name = next((name for name in names if fields.get(name) is not None), None)
    payload = None if name is None else unpack_file(fields.pop(name), name)
    return MediaForm(payload, fields)


def _media_type(content_type: bytes) -> bytes:
    return content_type.split(b";")[0].strip().lower()


def _is_file_type(kind: bytes) -> bool:
    """Returns whether a body or a part of this media type is a file as it is."""
    return kind.startswith((b"image/", b"audio/", b"video/")) or kind in (
        b"application/pdf",
        b"application/octet-stream",
    )


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


class _Form:
    """What a form's parser hands over."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.payload: bytes | None = None
        self.fields: dict[str, Any] = {}

    def on_field(self, field: Any) -> None:
        name, value = _text(field.field_name or b""), field.value or b""
        if _is_file_type(_media_type((field.content_type or "").encode("latin-1"))):
            return self._take_file(name, value, b"")  # n8n names no file that it holds in memory
        if len(self.fields) >= _MAX_FIELDS:
            raise InvalidRequest(f"the form has more than {_MAX_FIELDS} fields")
        if name in self._names and self.payload is None:  # curl -F image="$(base64 page.png)"
            self.payload = unpack_file(_text(value), name)
        elif len(value) > _MAX_FIELD_BYTES:
            raise InvalidRequest(f"{name[:40]} has more than {_MAX_FIELD_BYTES} bytes", param=name[:40])
        else:
            self.fields[name] = _text(value)

    def on_file(self, file: Any) -> None:
        file.file_object.seek(0)
        self._take_file(_text(file.field_name or b""), file.file_object.read(), file.file_name or b"")
        file.close()

    def _take_file(self, name: str, payload: bytes, file_name: bytes) -> None:
        if self.payload is not None:
            raise InvalidRequest(
                f"the form has a second file, '{name[:40]}'; send one a request", param=name[:40]
            )
        self.payload = payload
        self.fields.setdefault("filename", _text(file_name)[:255])


def _parse_form(request: Request, body: bytes, names: Sequence[str]) -> MediaForm:
    if not body:  # n8n's form without any field
        return MediaForm(None, {})
    if not body.rstrip().endswith(b"--"):
        raise InvalidRequest("the multipart form is cut short: its last boundary is missing; send all of it")
    form = _Form(names)
    header = request.header(b"content-type") or b""
    # Everything is in memory already, within the body's limit: nothing goes to a disk.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}
    try:
        parser = create_form_parser({"Content-Type": header}, form.on_field, form.on_file, config=config)
        stream = io.BytesIO(body)
        while piece := stream.read(1 << 20):
            parser.write(piece)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise InvalidRequest("the body is not the multipart form that its content type says") from error
    return MediaForm(form.payload, form.fields)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
