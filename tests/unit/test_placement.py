"""Where models run, with the CUDA devices that a test says there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turbov2.backends import registry
from turbov2.catalog import ModelSpec, PathWeights
from turbov2.engine import placement
from turbov2.engine.placement import Placement
from turbov2.errors import ModelUnavailable

GB = 10**9
ONE = {"host": 8 * GB, "cuda:0": 5 * GB}
TWO = {"host": 8 * GB, "cuda:0": 2 * GB, "cuda:1": 20 * GB}


def spec_of(**fields: Any) -> ModelSpec:
    usual = {"capability": "embed", "backend": "sentence", "runner": "process", "device_bytes": 3 * GB}
    return ModelSpec(name="m", weights=PathWeights(), **{**usual, **fields})


@pytest.fixture(autouse=True)
def with_cuda_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        placement, "can_use_cuda", lambda backend, options: backend == "sentence" or "cuda" in options
    )


@pytest.mark.parametrize(
    ("budgets", "wanted", "fields", "device"),
    [
        ({"host": GB}, "auto", {}, "cpu"),
        (ONE, "auto", {}, "cuda:0"),
        (TWO, "auto", {}, "cuda:1"),  # the first one's budget is too small
        (TWO, "auto", {"device_bytes": GB}, "cuda:0"),
        (ONE, "auto", {"device_bytes": 6 * GB}, "cpu"),
        (ONE, "auto", {"device_bytes": 0}, "cpu"),  # it gains nothing there
        (ONE, "auto", {"runner": "thread"}, "cpu"),  # torch stays out of the server
        (ONE, "auto", {"backend": "static"}, "cpu"),
        (ONE, "cpu", {}, "cpu"),
        (TWO, "cuda:0", {}, "cuda:0"),  # asked for: residency says if there is room
        (TWO, "cuda:1", {"device_bytes": 0}, "cpu"),
        (ONE, "auto", {"device": "cpu"}, "cpu"),
        (ONE, "cpu", {"device": "cuda:0", "device_bytes": 0}, "cuda:0"),
    ],
)
def test_devices(budgets: dict[str, int], wanted: str, fields: dict[str, Any], device: str) -> None:
    assert Placement(wanted, budgets).device_of(spec_of(**fields)) == device


@pytest.mark.parametrize(
    ("wanted", "fields", "message"),
    [
        ("cuda:3", {}, "TURBOV2_DEVICE is 'cuda:3', but the CUDA devices here are: cuda:0"),
        (
            "auto",
            {"device": "cuda:1"},
            "the model's `device` is 'cuda:1', but the CUDA devices here are: cuda:0",
        ),
        (
            "auto",
            {"device": "cuda:0", "backend": "onnx"},
            "model 'm' is to run on 'cuda:0', but its libraries here",
        ),
    ],
)
def test_a_device_that_is_asked_for_is_never_replaced(
    wanted: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelUnavailable, match=message.replace("(", "\\(")):
        Placement(wanted, ONE).device_of(spec_of(**fields))


@pytest.mark.parametrize(
    ("wanted", "fields", "device"),
    [
        ("auto", {"options": {"cuda": True}}, "cuda:0"),  # even if the budget is small: residency says no
        ("cpu", {"options": {"cuda": True}}, "cuda:0"),
        ("cuda:1", {"options": {"cuda": True}}, "cuda:1"),
        ("auto", {}, "cpu"),
        ("cuda:1", {}, "cpu"),
        ("auto", {"options": {"cuda": True}, "device": "cuda:1"}, "cuda:1"),
    ],
)
def test_a_vllm_runs_where_it_is_built_for(wanted: str, fields: dict[str, Any], device: str) -> None:
    spec = spec_of(backend="vllm_local", device_bytes=0, **fields)
    assert Placement(wanted, TWO).device_of(spec) == device


def test_a_vllm_without_the_device_that_it_is_built_for() -> None:
    spec = spec_of(backend="vllm_local", options={"cuda": True})
    with pytest.raises(ModelUnavailable, match="built for is 'cuda:0', but the CUDA devices here are: none"):
        Placement("auto", {"host": GB}).device_of(spec)


def test_builds_are_told_without_an_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert not registry.can_use_cuda("static", {})
    assert not registry.can_use_cuda("no-such-backend", {})
    for text, is_able in (("cuda: Optional[str] = None", False), ("cuda: Optional[str] = '13.0'", True)):
        (tmp_path / "version.py").write_text(f"debug = False\n{text}\n")
        (tmp_path / "__init__.py").write_text("raise AssertionError('imported')")
        found = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
        monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name, found=found: found)
        assert registry.can_use_cuda("sentence", {}) is is_able
    monkeypatch.setattr(registry.importlib.metadata, "distribution", lambda name: name)
    assert registry.can_use_cuda("onnx", {})
    for found in (None, "libcublas.so.12"):
        monkeypatch.setattr("ctypes.util.find_library", lambda name, found=found: found)
        assert registry.can_use_cuda("whisper", {}) is (found is not None)


def test_the_build_of_another_pythons_torch_is_told_by_its_file(tmp_path: Path) -> None:
    python = tmp_path / "bin/python"
    options = {"python": str(python)}
    assert not registry.can_use_cuda("vllm_local", options)
    python.parent.mkdir()
    python.touch(mode=0o755)
    assert not registry.can_use_cuda("vllm_local", options)
    torch = tmp_path / "lib/python3.12/site-packages/torch"
    torch.mkdir(parents=True)
    for text, is_able in (("cuda: Optional[str] = None", False), ("cuda: Optional[str] = '13.0'", True)):
        (torch / "version.py").write_text(text)
        assert registry.can_use_cuda("vllm_local", options) is is_able


def test_programs_are_found_in_their_folder_or_by_their_name(tmp_path: Path) -> None:
    assert registry.program_of("bitnet", {"path": str(tmp_path)}) is None
    for place in ("llama-server", "build/bin/llama-server"):
        program = tmp_path / place
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o644)
        assert registry.program_of("bitnet", {"path": str(program)}) is None  # nobody may run it
        program.chmod(0o755)
        for named in (tmp_path, program):
            assert registry.program_of("bitnet", {"path": str(named)}) == program


@pytest.mark.parametrize("options", [{}, {"path": ""}])
def test_no_program_is_taken_from_the_folder_that_the_server_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    (tmp_path / "llama-server").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    assert registry.program_of("bitnet", options) is None
