"""What the header of a GGUF file says of its model, read without llama.cpp.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turbov2.backends.slots import USUAL_CONTEXT, usual_slots
from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_NUMBERS = "BbHhIif?"  # by the format's number of a type, as `struct` calls them
_WIDE_NUMBERS = {10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_VOCABULARY = "tokenizer."  # what begins so is long

_CONTEXT_STEP = 256  # llama.cpp allots its cache in such steps
_CACHE_ITEM_BYTES = 2  # float16
# Two cores wrote 149, 208 and 259 tokens/s in 1, 4 and 8 answers at a time: four gain the most.
_USUAL_SLOTS = 4
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")


class _Header:
    """Reads one value after the other. Raises: struct.error past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def bytes(self, n_bytes: int) -> bytes:
        """Returns the next bytes."""
        end = self._at + n_bytes
        if end > len(self._data):
            raise struct.error
        taken, self._at = self._data[self._at : end], end
        return taken

    def numbers(self, kind: str, count: int = 1) -> tuple[Any, ...]:
        """Returns the next numbers, little-endian. kind: as `struct` calls it."""
        return struct.unpack(f"<{count}{kind}", self.bytes(count * struct.calcsize(f"<{kind}")))

    def text(self) -> str:
        """Returns the next string."""
        return self.bytes(self.numbers("Q")[0]).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """Returns the next value of this type of the format's."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array(*self.numbers("I"), *self.numbers("Q"))
        return self.numbers(_number(kind))[0]

    def skip(self, kind: int) -> None:
        """Afterwards what comes behind the next value is next."""
        if kind == _STRING:
            self._skip_texts(1)
        elif kind == _ARRAY:
            (kind,), (count,) = self.numbers("I"), self.numbers("Q")
            if kind == _STRING:
                self._skip_texts(count)
            else:
                self._at += count * struct.calcsize(f"<{_number(kind)}")
        else:
            self._at += struct.calcsize(f"<{_number(kind)}")

    def _skip_texts(self, count: int) -> None:
        for _ in range(count):  # one after the other: a vocabulary's have no index
            self._at += 8 + int.from_bytes(self._data[self._at : self._at + 8], "little")
            if self._at > len(self._data):
                raise struct.error

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            return [self.text() for _ in range(count)]
        return list(self.numbers(_number(kind), count))


def read_entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields keys and values in the file's order.

    Raises: LoadFailed for a file that is no GGUF, or one that ends in its header.
    """
    with _opened(path) as (header, n_entries):
        for _ in range(n_entries):
            yield header.text(), header.value(*header.numbers("I"))


def read_entry(path: Path, key: str) -> Any:
    """Returns the value of one key, None if there is none; vocabularies in front of it cost little.

    Raises: LoadFailed, as `read_entries`.
    """
    with _opened(path) as (header, n_entries):
        for _ in range(n_entries):
            found, (kind,) = header.text(), header.numbers("I")
            if found == key:
                return header.value(kind)
            header.skip(kind)
    return None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_Header, int]]:
    """Gives the header, at its first entry, and how many there are."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = _Header(data)
            magic, (version, _, n_entries) = header.bytes(4), _counts(header)
            if magic != _MAGIC or version not in _VERSIONS:
                raise LoadFailed(f"{path.name} is no GGUF file of version 2 or 3")
            yield header, n_entries
    except (OSError, OverflowError, ValueError, struct.error) as error:
        raise LoadFailed(f"{path.name} is no GGUF file, or not a whole one") from error


def read_shape(path: Path) -> dict[str, Any]:
    """Returns the entries that tell a model's shape, without its vocabulary, which takes long to read.

    Raises: LoadFailed, as `read_entries`.
    """
    shape: dict[str, Any] = {}
    for key, value in read_entries(path):
        # llama.cpp's own tools write the shape in front.
        if key.startswith(_VOCABULARY) and f"{shape.get('general.architecture')}.block_count" in shape:
            break
        if not key.startswith(_VOCABULARY):
            shape[key] = value
    return shape


def is_projector(name: str) -> bool:
    """Returns whether a file of this name holds a model's eyes, as llama.cpp's tools call it."""
    return name.lower().endswith(".gguf") and "mmproj" in name.lower()


def model_file(files: Mapping[str, str]) -> Path:
    """Returns the one model among a folder's files, of a model in parts the first.

    Raises: LoadFailed when there is none, or several.
    """
    models = sorted(name for name in files if name.endswith(".gguf") and not is_projector(name))
    first = [name for name in models if not _LATER_PART.search(name)]
    if len(first) != 1:
        found = f"{len(first)}: {', '.join(first[:4])}" if first else "none"
        raise LoadFailed(f"the model folder must have one model in GGUF beside its projector; it has {found}")
    return Path(files[first[0]])


def projector_file(files: Mapping[str, str]) -> Path | None:
    """Returns what makes the model see, None for a model that reads text alone. Raises: LoadFailed."""
    names = sorted(filter(is_projector, files))
    if len(names) > 1:
        raise LoadFailed(f"the model folder has {len(names)} projectors ({', '.join(names[:4])}); keep one")
    return Path(files[names[0]]) if names else None


def n_context(shape: Mapping[str, Any], max_tokens: int | None) -> int:
    """Returns how many tokens the model reads and writes in all.

    As many as the catalogue says, 8,192 where it says nothing, and never more than the model was trained on:
    many are trained on more than anybody has memory for.
    """
    trained = int(shape.get(f"{shape.get('general.architecture')}.context_length", USUAL_CONTEXT))
    wanted = min(max_tokens or USUAL_CONTEXT, trained)
    return max(_CONTEXT_STEP, wanted // _CONTEXT_STEP * _CONTEXT_STEP)


def n_slots(shape: Mapping[str, Any], n_context: int, asked: int | None) -> int:
    """Returns how many answers the model writes at a time, each with a whole context of its own.

    As many as the models file says; else up to four, as long as their keys and values stay within 1 GiB.
    """
    if asked is not None:
        return asked
    context_bytes = n_context * _token_bytes(shape)
    return usual_slots(context_bytes, _USUAL_SLOTS)


def cache_bytes(spec: LoadSpec) -> int:
    """Returns what the keys and values of all slots' contexts take, 0 if the header does not tell.

    It is allotted when the model is loaded. Blocks: reads a header.
    """
    try:
        shape = read_shape(model_file(spec.files))
        context = n_context(shape, spec.max_tokens)
        slots = n_slots(shape, context, spec.options.get("n_slots"))
        return max(0, slots * context * _token_bytes(shape))
    except (LoadFailed, OverflowError, TypeError, ValueError):  # entries may be of any type
        return 0


def _token_bytes(shape: Mapping[str, Any]) -> int:
    """Returns the bytes of one token's keys and values in all layers."""
    own = {key.partition(".")[2]: value for key, value in shape.items()}
    n_heads = max(_listed(own.get("attention.head_count", 0)), default=0)
    if not n_heads or not (n_layers := int(own.get("block_count", 0))):
        return 0
    n_kv_heads = own.get("attention.head_count_kv", n_heads)  # a list: each layer's own, 0 for those without
    n_rows = sum(n_kv_heads) if isinstance(n_kv_heads, list) else n_kv_heads * n_layers
    head_dim = own.get("embedding_length", 0) // n_heads
    key_dim, value_dim = (own.get(f"attention.{name}_length", head_dim) for name in ("key", "value"))
    return int(n_rows * (key_dim + value_dim) * _CACHE_ITEM_BYTES)


def _listed(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value]


def _counts(header: _Header) -> tuple[int, int, int]:
    """Returns the version and the numbers of tensors and of entries."""
    return (*header.numbers("I"), *header.numbers("Q"), *header.numbers("Q"))


def _number(kind: int) -> str:
    if kind < len(_NUMBERS):
        return _NUMBERS[kind]
    if kind not in _WIDE_NUMBERS:
        raise ValueError(f"type {kind} is not known")
    return _WIDE_NUMBERS[kind]
