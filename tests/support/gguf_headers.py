"""Headers of GGUF files, packed by hand."""

from __future__ import annotations

import struct
from pathlib import Path

Value = str | bool | int | float | list[int] | list[str]

_U32, _F32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9


def header(entries: dict[str, Value], *, version: int = 3, n_entries: int | None = None) -> bytes:
    """Returns a header without tensors."""
    told = len(entries) if n_entries is None else n_entries
    packed = b"".join(
        _text(key) + struct.pack("<I", _kind(value)) + _value(value) for key, value in entries.items()
    )
    return b"GGUF" + struct.pack("<IQQ", version, 0, told) + packed


def save_header(path: Path, **entries: Value) -> Path:
    """Writes the header of a llama with these entries. Returns the path."""
    own = {f"llama.{key}": value for key, value in entries.items()}
    path.write_bytes(header({"general.architecture": "llama", **own}))
    return path


def _kind(value: Value) -> int:
    kinds = {str: _STRING, bool: _BOOL, int: _U32, float: _F32, list: _ARRAY}
    return kinds[type(value)]


def _value(value: Value) -> bytes:
    if isinstance(value, list):
        kind = _kind(value[0]) if value else _U32
        return struct.pack("<IQ", kind, len(value)) + b"".join(map(_value, value))
    if isinstance(value, str):
        return _text(value)
    return struct.pack({_BOOL: "<?", _U32: "<I", _F32: "<f"}[_kind(value)], value)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
