"""Fields of requests, and multipart forms taken apart as they arrive."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from turbov2.errors import InvalidRequest
from turbov2.wire._keep_alive import parse_keep_alive_s

_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 65_536
_PLAIN_ENCODINGS = ("binary", "8bit", "7bit")  # of a part's Content-Transfer-Encoding

_FILE_TYPES = (b"application/pdf", b"application/octet-stream")

Take = Callable[[bytes], object]


def media_type(content_type: bytes) -> bytes:
    """Returns the type without its parameters."""
    return content_type.split(b";")[0].strip().lower()


def is_file_type(kind: bytes) -> bool:
    """Returns whether a body or a part of this media type is a file as it is."""
    return kind.startswith((b"image/", b"audio/", b"video/")) or kind in _FILE_TYPES


class Form(msgspec.Struct, frozen=True):
    """The fields of a request. Of a form they are texts, and lists of texts where the name ends in []."""

    fields: dict[str, Any]

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
        except (TypeError, ValueError, OverflowError):
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

    def texts(self, name: str) -> list[str]:
        """Returns the texts of a repeated field, whose name in a form is `name[]`. Raises: InvalidRequest."""
        value = self.fields.get(f"{name}[]", self.fields.get(name))
        if value is None:
            return []
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidRequest(f"{name} is not a list of strings", param=name)
        return texts


class FormReader:
    """Takes a multipart form apart, piece by piece. Of its parts one may be a file.

    The bytes of the file, any part with a file name or a file's media type, go to `take`. A text under one of
    `names` is the file as well, of at most `max_text_bytes`: `file_text` has it and its name.
    """

    def __init__(self, content_type: bytes, take: Take, names: Sequence[str], max_text_bytes: int) -> None:
        self.fields: dict[str, Any] = {}
        self.file_text: tuple[str, str] | None = None
        self.has_file = False
        self._take = take
        self._names = names
        self._max_text_bytes = max_text_bytes
        self._is_complete = False
        self._headers: dict[str, str] = {}
        self._header = ("", "")  # name and value, which may come in pieces
        self._name = ""
        self._is_in_file = False
        self._value = bytearray()
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidRequest("the content type of the multipart form names no boundary")
        callbacks: Any = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        with _readable():
            self._parser = MultipartParser(boundary, callbacks)

    def write(self, piece: bytes) -> None:
        """Reads on. Raises: InvalidRequest, and whatever `take` raises."""
        with _readable():
            self._parser.write(piece)

    def end(self) -> None:
        """Says that nothing more comes. Raises: InvalidRequest when the form is not complete."""
        if not self._is_complete:
            message = "the multipart form is cut short: its last boundary is missing; send all of it"
            raise InvalidRequest(message)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = self._header[0] + _text(data[start:end]), ""

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = self._header[0], self._header[1] + data[start:end].decode("latin-1")

    def _on_header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1].strip()
        self._header = ("", "")

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        if b"name" not in options:
            raise InvalidRequest("a part of the form has no name; send its Content-Disposition with one")
        encoding = self._headers.get("content-transfer-encoding", "binary").lower()
        if encoding not in _PLAIN_ENCODINGS:
            raise InvalidRequest(f"a part of the form is encoded as {encoding[:40]}; send it as it is")
        self._name = _text(options[b"name"])
        # n8n names no file that it holds in memory, but says of what kind it is.
        kind = media_type(self._headers.get("content-type", "").encode("latin-1"))
        self._is_in_file = b"filename" in options or is_file_type(kind)
        self._value = bytearray()
        if self._is_in_file:
            self._begin_file(_text(options.get(b"filename", b"")))

    def _begin_file(self, filename: str) -> None:
        if self.has_file or self.file_text is not None:
            name = self._name[:40]
            raise InvalidRequest(f"the form has a second file, '{name}'; send one a request", param=name)
        self.has_file = True
        self.fields.setdefault("filename", filename[:255])

    def _is_file_text(self) -> bool:
        return self._name in self._names and not self.has_file and self.file_text is None

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_in_file:
            self._take(data[start:end])
            return
        most = self._max_text_bytes if self._is_file_text() else _MAX_FIELD_BYTES
        if len(self._value) + end - start > most:
            raise InvalidRequest(f"{self._name[:40]} has more than {most} bytes", param=self._name[:40])
        self._value += data[start:end]

    def _on_part_end(self) -> None:
        if self._is_in_file:
            return
        value = _text(self._value)
        if self._is_file_text():
            self.file_text = value, self._name
            return
        if len(self.fields) >= _MAX_FIELDS:
            raise InvalidRequest(f"the form has more than {_MAX_FIELDS} fields")
        if not self._name.endswith("[]"):
            self.fields[self._name] = value
        elif len(values := self.fields.setdefault(self._name, [])) < _MAX_FIELDS:
            values.append(value)

    def _on_end(self) -> None:
        self._is_complete = True


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """What the parser raises becomes an error of ours."""
    try:
        yield
    except FormParserError as error:
        raise InvalidRequest("the body is not the multipart form that its content type says") from error


def _text(value: bytes | bytearray) -> str:
    return value.decode("utf-8", "replace")
