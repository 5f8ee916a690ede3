"""How much memory a model is expected to take, from the headers of its files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save_file

from tests.support.gguf_headers import save_header
from turbov2.catalog import ModelSpec, PathWeights
from turbov2.engine.sizes import PROCESS_BYTES, estimate_bytes
from turbov2.residency import Footprints
from turbov2.types import LoadSpec

N_VALUES = 6_000
ARRAY = np.zeros((60, 100), np.float32)


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(
        **{"name": "m", "capability": "embed", "backend": "static", "runner": "inline"}
        | {"weights": PathWeights("/w")}
        | fields
    )


def load(*paths: Path, device: str = "cpu") -> LoadSpec:
    return LoadSpec("m", "static", {path.name: str(path) for path in paths}, "", device=device)


def tensors(folder: Path, **arrays: np.ndarray[Any, Any]) -> Path:
    path = folder / "model.safetensors"
    save_file(arrays, str(path), metadata={"format": "pt"})
    return path


def test_linear_layers_in_four_bits_take_a_quarter(tmp_path: Path) -> None:
    whole = ARRAY.astype("float16")
    arrays = {"layers.0.weight": whole, "embed_tokens.weight": whole, "norm.weight": whole[0]}
    path = tmp_path / "model.safetensors"
    save_file(arrays, str(path), metadata={"format": "pt"})
    asked = replace(load(path), options={"quantization": "nf4"})
    expected = {"host": int(N_VALUES * 0.52) + 2 * (N_VALUES + 100)}
    assert estimate_bytes(spec(host_bytes=10**9), asked) == expected


@pytest.mark.parametrize(
    ("dtype", "on_cpu", "on_gpu"),
    [
        ("float32", 4, 4),
        ("float16", 4, 2),
        ("int8", 1, 1),
        ("uint8", 1, 1),
        ("float64", 8, 8),
        ("int64", 8, 8),
    ],
)
def test_half_precision_is_widened_on_a_cpu_only(
    tmp_path: Path, dtype: str, on_cpu: int, on_gpu: int
) -> None:
    path = tensors(tmp_path, weights=ARRAY.astype(dtype))
    assert estimate_bytes(spec(), load(path)) == {"host": N_VALUES * on_cpu}
    assert estimate_bytes(spec(), load(path, device="cuda:0")) == {"host": 0, "cuda:0": N_VALUES * on_gpu}


def test_bfloat16_is_widened_as_well(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = json.dumps({"w": {"dtype": "BF16", "shape": [10, 20], "data_offsets": [0, 400]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(400))
    assert estimate_bytes(spec(), load(path)) == {"host": 800}


def test_all_tensors_of_all_files_count(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    first = tensors(tmp_path, a=ARRAY, b=ARRAY.astype(np.float16), scalar=np.zeros((), np.float32))
    second = tensors(tmp_path / "second", c=ARRAY).rename(tmp_path / "model-2.safetensors")
    assert estimate_bytes(spec(), load(first, second)) == {"host": 3 * 4 * N_VALUES + 4}


@pytest.mark.parametrize("name", ["model.onnx", "model.gguf", "pytorch_model.bin", "table.npz"])
def test_other_weights_count_as_they_lie_on_disk(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(1234))
    assert estimate_bytes(spec(), load(path)) == {"host": 1234}


def test_a_contexts_cache_comes_on_top_for_llama_cpp(tmp_path: Path) -> None:
    entries = {
        "block_count": 3,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "embedding_length": 64,
    }
    path = save_header(tmp_path / "model.gguf", **entries, context_length=1000)
    row = 3 * 2 * 2 * 16 * 2
    n_bytes = path.stat().st_size
    for max_tokens, n_context in ((None, 768), (600, 512), (9000, 768), (10, 256)):
        asked = replace(load(path), max_tokens=max_tokens, options={"n_slots": 3})
        assert estimate_bytes(spec(backend="llama_cpp"), asked) == {"host": n_bytes + 3 * n_context * row}
        assert estimate_bytes(spec(), asked) == {"host": n_bytes}


HEADS = {"num_hidden_layers": 3, "num_attention_heads": 8, "hidden_size": 512, "num_key_value_heads": 2}
ROW = 3 * 2 * 64 * 2  # numbers of a token


@pytest.mark.parametrize(
    ("config", "options", "n_values"),
    [
        ({}, {}, 8 * 8192 * ROW),
        ({"max_position_embeddings": 100}, {}, 8 * 100 * ROW),
        ({"num_key_value_heads": None}, {"n_slots": 1}, 8192 * 4 * ROW),
        ({"head_dim": 128}, {"n_slots": 2}, 2 * 8192 * 2 * ROW),
        ({"num_hidden_layers": 90}, {}, 30 * 8192 * ROW),
        ({"num_hidden_layers": 900}, {}, 300 * 8192 * ROW),
        ({}, {"dtype": "bfloat16"}, 8 * 8192 * ROW / 2),
        ({"sliding_window": 4096}, {}, 0),
        ({"sliding_window": 4096, "use_sliding_window": False}, {}, 8 * 8192 * ROW),
        ({"layer_types": ["full_attention", "linear_attention"]}, {}, 0),
        ({"num_attention_heads": 0}, {}, 0),
        ({"num_hidden_layers": "many"}, {}, 0),
        ({"num_hidden_layers": float("inf")}, {}, 0),
        ({"num_hidden_layers": -2}, {}, 0),
    ],
)
def test_slots_caches_come_on_top_for_transformers(
    tmp_path: Path, config: dict[str, Any], options: dict[str, Any], n_values: float
) -> None:
    """As many whole contexts as 1 GiB has room for, at most eight, at least one."""
    path = tmp_path / "config.json"
    told = {"max_position_embeddings": 100_000, **HEADS} | config
    for written in (told, {"text_config": told}):
        path.write_text(json.dumps(written))
        files = replace(load(path, tensors(tmp_path, weights=ARRAY)), options=options)
        assert estimate_bytes(spec(backend="huggingface"), files) == {"host": 4 * (N_VALUES + n_values)}


def test_a_config_that_is_nested_without_end_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 200_000)
    assert estimate_bytes(spec(backend="huggingface"), load(path)) == {"host": 0}


def test_what_is_no_weights_does_not_count(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "config.json", "vocab.txt"):
        (tmp_path / name).write_bytes(bytes(10_000))
    files = load(*tmp_path.iterdir(), tensors(tmp_path, weights=ARRAY))
    assert estimate_bytes(spec(), files) == {"host": 4 * N_VALUES}


@pytest.mark.parametrize(("catalogued", "expected"), [(0, 24_000), (23_999, 24_000), (1_000_000, 1_000_000)])
def test_the_catalogues_figure_counts_where_it_is_larger(
    tmp_path: Path, catalogued: int, expected: int
) -> None:
    path = tensors(tmp_path, weights=ARRAY)
    assert estimate_bytes(spec(host_bytes=catalogued), load(path)) == {"host": expected}
    on_gpu = spec(host_bytes=7, device_bytes=catalogued)
    assert estimate_bytes(on_gpu, load(path, device="cuda:1")) == {"host": 7, "cuda:1": expected}


@pytest.mark.parametrize(("runner", "base"), [("inline", 0), ("thread", 0), ("process", PROCESS_BYTES)])
def test_a_process_of_its_own_comes_on_top(tmp_path: Path, runner: Any, base: int) -> None:
    path = tensors(tmp_path, weights=ARRAY)
    assert estimate_bytes(spec(runner=runner), load(path)) == {"host": base + 4 * N_VALUES}
    larger = spec(runner=runner, host_bytes=10**9)
    assert estimate_bytes(larger, load(path)) == {"host": base + 10**9}
    assert estimate_bytes(larger, load(path, device="cuda:0"))["host"] == base + 10**9


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"dummy",
        bytes(100),
        struct.pack("<Q", 4) + b'"\xff"}',
        struct.pack("<Q", 50) + b"no json",
        struct.pack("<Q", 1 << 62) + b"{}",
    ],
)
def test_a_file_that_is_no_safetensors_counts_as_it_lies_on_disk(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert estimate_bytes(spec(), load(path)) == {"host": len(content)}


def test_a_file_that_went_away_counts_nothing(tmp_path: Path) -> None:
    assert estimate_bytes(spec(host_bytes=5), load(tmp_path / "model.safetensors")) == {"host": 5}


@pytest.mark.parametrize(
    "header",
    [
        [],
        "text",
        7,
        {"w": {"dtype": "F32", "shape": "x"}},
        {"w": {"dtype": 32, "shape": [1]}},
        {"w": 3},
    ],
)
def test_a_header_of_another_shape_counts_as_it_lies_on_disk(tmp_path: Path, header: Any) -> None:
    path = tmp_path / "model.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert estimate_bytes(spec(), load(path)) == {"host": 8 + len(text)}


def test_a_vllm_takes_its_part_of_each_device(tmp_path: Path) -> None:
    asked = replace(
        load(tensors(tmp_path, weights=ARRAY), device="cuda:1"),
        options={"gpu_memory_utilization": 0.5, "tensor_parallel_size": 2},
    )
    devices = {"cuda:0": 8 * 10**9, "cuda:1": 10**10, "cuda:2": 2 * 10**10}
    told = estimate_bytes(spec(backend="vllm_local", host_bytes=10**12), asked, devices)
    taken = Footprints(None).need("vllm", told)
    assert [pool for pool in told if pool != "host"] == ["cuda:1", "cuda:2"]
    assert taken["cuda:1"] == pytest.approx(5 * 10**9, abs=10)
    assert taken["cuda:2"] == pytest.approx(10**10, abs=10)
    assert taken["host"] < 3 * 10**9


def test_a_vllm_on_a_cpu_takes_weights_as_they_are_and_its_cache(tmp_path: Path) -> None:
    path = tensors(tmp_path, weights=ARRAY.astype(np.float16))
    asked = replace(load(path), options={"cpu_cache_gib": 3})
    with_cache = estimate_bytes(spec(backend="vllm_local"), asked)["host"]
    assert with_cache - estimate_bytes(spec(backend="vllm_local"), load())["host"] == 2 * N_VALUES + (3 << 30)
