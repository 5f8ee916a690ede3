"""What the header of a GGUF file says, whatever its bytes."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gguf_headers import Value, header, save_header
from turbov2.backends.gguf import (
    cache_bytes,
    is_projector,
    model_file,
    n_context,
    n_slots,
    projector_file,
    read_entries,
    read_shape,
)
from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

ENTRIES: dict[str, Value] = {
    "general.architecture": "llama",
    "llama.block_count": 4,
    "llama.context_length": 1024,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "tokenizer.ggml.tokens": ["a", "é", ""],
    "tokenizer.ggml.scores": [],
    "tokenizer.ggml.add_bos_token": True,
    "general.sampling.temp": 0.5,
}


def files(*names: str) -> dict[str, str]:
    return {name: f"/models/{name}" for name in names}


def spec(path: Path, max_tokens: int | None = None) -> LoadSpec:
    return LoadSpec("m", "llama_cpp", {path.name: str(path)}, "", max_tokens, options={"n_slots": 1})


def test_entries_come_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header(ENTRIES) + bytes(100))
    assert dict(read_entries(path)) == ENTRIES


@pytest.mark.parametrize("vocabulary_first", [False, True])
def test_a_shape_is_read_without_its_vocabulary(tmp_path: Path, vocabulary_first: bool) -> None:
    keys = sorted(ENTRIES, key=lambda key: key.startswith("tokenizer") is not vocabulary_first)
    path = tmp_path / "model.gguf"
    path.write_bytes(header({key: ENTRIES[key] for key in keys}))
    shape = read_shape(path)
    assert not any(key.startswith("tokenizer") for key in shape)
    assert n_context(shape, None) == 1024
    assert cache_bytes(spec(path)) == 1024 * 4 * 4 * 2 * 16 * 2


def test_a_broken_vocabulary_does_not_matter_for_the_shape(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    head = {key: value for key, value in ENTRIES.items() if not key.startswith("tokenizer")}
    key = b"tokenizer.ggml.tokens"
    whole = header(head, n_entries=99) + struct.pack("<Q", len(key)) + key
    path.write_bytes(whole + struct.pack("<IIQ", 9, 8, 0))
    assert cache_bytes(spec(path)) > 0
    with pytest.raises(LoadFailed, match=r"model.gguf is no GGUF file"):
        dict(read_entries(path))


def test_layers_may_differ_and_heads_may_have_a_size_of_their_own(tmp_path: Path) -> None:
    path = save_header(
        tmp_path / "model.gguf",
        **{
            "block_count": 3,
            "context_length": 512,
            "embedding_length": 64,
            "attention.head_count": [4, 4, 4],
        },
        **{"attention.head_count_kv": [2, 0, 2], "attention.key_length": 32, "attention.value_length": 8},
    )
    assert cache_bytes(spec(path)) == 512 * (2 + 0 + 2) * (32 + 8) * 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(40),
        header(ENTRIES, version=1),
        header(ENTRIES, version=0x03000000),
        header({"general.architecture": "llama"}, n_entries=1 << 60),
        header({})[:-8] + struct.pack("<Q", 1) + struct.pack("<Q", 1 << 62),
        header({}, n_entries=1) + struct.pack("<QI", 0, 77),
        header({}, n_entries=1) + struct.pack("<QIIQ", 0, 9, 9, 1),
        header({}, n_entries=1) + struct.pack("<QIIQ", 0, 9, 10, 1 << 61),
    ],
)
def test_what_is_no_gguf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(LoadFailed, match=r"model.gguf is no GGUF file"):
        dict(read_entries(path))
    assert cache_bytes(spec(path)) == 0


@pytest.mark.parametrize("value", ["text", [], ["a"], True, -0.5, float("inf"), float("nan")])
@pytest.mark.parametrize("key", [key for key in ENTRIES if key.startswith("llama.")])
def test_entries_of_any_type_are_only_counted_as_nothing(tmp_path: Path, key: str, value: Value) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header({**ENTRIES, key: value}))
    assert cache_bytes(spec(path)) >= 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(at=st.integers(4, len(header(ENTRIES)) - 1), byte=st.integers(0, 255))
def test_a_damaged_header_raises_nothing_else(tmp_path: Path, at: int, byte: int) -> None:
    content = bytearray(header(ENTRIES))
    content[at] = byte
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    assert isinstance(cache_bytes(spec(path)), int)
    with contextlib.suppress(LoadFailed):
        assert all(isinstance(key, str) for key, _ in read_entries(path))


def test_a_folders_one_model_and_its_projector() -> None:
    found = files(
        "mmproj-model-f16.gguf", "model-00001-of-00003.gguf", "model-00003-of-00003.gguf", "README.md"
    )
    assert model_file(found) == Path("/models/model-00001-of-00003.gguf")
    assert projector_file(found) == Path("/models/mmproj-model-f16.gguf")
    assert projector_file(files("model.gguf")) is None
    assert is_projector("eyes/Eyes-MMPROJ-q8.gguf")
    for wrong, says in (
        (files("mmproj.gguf"), "it has none"),
        (files("a.gguf", "b.gguf"), "2: a.gguf, b.gguf"),
    ):
        with pytest.raises(LoadFailed, match=says):
            model_file(wrong)
    with pytest.raises(LoadFailed, match="2 projectors"):
        projector_file(files("mmproj-a.gguf", "mmproj-b.gguf"))


@pytest.mark.parametrize(
    ("max_tokens", "trained", "n_tokens"),
    [
        (None, 131_072, 8192),
        (None, 4096, 4096),
        (32_768, 131_072, 32_768),
        (32_768, 8192, 8192),
        (1, 8192, 256),
    ],
)
def test_the_context(max_tokens: int | None, trained: int, n_tokens: int) -> None:
    shape = {"general.architecture": "qwen3", "qwen3.context_length": trained}
    assert n_context(shape, max_tokens) == n_tokens


@pytest.mark.parametrize(
    ("n_layers", "asked", "expected"), [(1, None, 4), (8, None, 2), (100, None, 1), (100, 3, 3), (0, None, 1)]
)
def test_as_many_slots_as_their_caches_have_room_for(n_layers: int, asked: int | None, expected: int) -> None:
    """A layer's keys and values of 32,768 tokens take 64 MiB here, and 1 GiB is what all may take."""
    heads = {"a.attention.head_count": 8, "a.attention.key_length": 64, "a.attention.value_length": 64}
    shape = {"general.architecture": "a", "a.block_count": n_layers} | heads
    assert n_slots(shape, 32_768, asked) == expected
