"""LLM_BACKEND, and what each engine's variables say of the models that leave it open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from turbov2.catalog import Catalog, PathWeights, RemoteWeights
from turbov2.catalog.catalog import CatalogError
from turbov2.engine.serving import serving_of, unused
from turbov2.errors import ModelNotFound
from turbov2.settings import SettingsError, load_settings

CODER = "qwen2.5-coder-7b"
REPO = "Qwen/Qwen2.5-Coder-7B-Instruct"
URL = "http://gpu-box:8000/v1"
OWN = '[models."own"]\ncapability = "generate"\nweights = { kind = "path", path = "/models/own" }\n'


def catalog(file: Path | None = None, aliases: tuple[tuple[str, str], ...] = (), **env: str) -> Catalog:
    return Catalog.load(file, {}, aliases, serving_of(load_settings(env)))


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_without_the_variable_the_catalogue_counts() -> None:
    spec = catalog().resolve(CODER)
    assert (spec.backend, spec.runner) == ("huggingface", "process")
    assert catalog(LLM_BACKEND=" HuggingFace ").resolve(CODER) == spec


@pytest.mark.parametrize(
    ("backend", "prefix", "name"),
    [("vllm_remote", "VLLM_REMOTE", REPO), ("remote_openai", "REMOTE_OPENAI", REPO)],
)
def test_another_server_takes_the_models_that_leave_it_open(backend: str, prefix: str, name: str) -> None:
    env = {
        "LLM_BACKEND": backend,
        f"{prefix}_URL": URL,
        f"{prefix}_API_KEY": "k",
        f"{prefix}_TIMEOUT": "60.5",
    }
    models = catalog(**env, **{f"{prefix}_MAX_RETRIES": "5"})
    spec = models.resolve(CODER)
    assert (spec.backend, spec.runner, spec.weights) == (backend, "remote", RemoteWeights())
    assert (spec.host_bytes, spec.device_bytes, spec.extra) == (0, 0, "")
    assert spec.options == {
        "base_url": URL,
        "model": name,
        "key_variable": f"{prefix}_API_KEY",
        "timeout_s": 60.5,
        "retries": 5,
    }
    assert spec.max_tokens == 32_768
    assert models.resolve("smollm2-135m").backend == "llama_cpp"
    assert models.resolve("lfm25-vl").backend == "vlm"


def test_a_model_may_have_another_name_there() -> None:
    env = {"LLM_BACKEND": "remote_openai", "REMOTE_OPENAI_URL": URL, "REMOTE_OPENAI_MODEL": "gpt-x"}
    options = catalog(**env).resolve(CODER).options
    assert options["model"] == "gpt-x"
    assert options["key_variable"] == ""


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"LLM_BACKEND": "vllm_remote"}, "LLM_BACKEND=vllm_remote needs VLLM_REMOTE_URL"),
        ({"LLM_BACKEND": "remote_openai"}, "LLM_BACKEND=remote_openai needs REMOTE_OPENAI_URL"),
        ({"LLM_BACKEND": "vllm_local"}, "LLM_BACKEND=vllm_local needs TURBOV2_VLLM_PYTHON"),
        ({"LLM_BACKEND": "bitnet"}, "LLM_BACKEND=bitnet needs BITNET_PATH"),
        (
            {"LLM_BACKEND": "bitnet", "BITNET_PATH": "/path/to/BitNet"},
            "BITNET_PATH: there is no program to run at '/path/to/BitNet'",
        ),
        (
            {"LLM_BACKEND": "bitnet", "BITNET_PATH": sys.executable, "BITNET_MODEL_PATH": "/no/model.gguf"},
            "BITNET_MODEL_PATH: there is no file",
        ),
        ({"LLM_BACKEND": "vllm"}, "LLM_BACKEND: 'vllm' is not one of huggingface, vllm_local"),
        ({"VLLM_REMOTE_URL": "gpu-box:8000"}, "VLLM_REMOTE_URL: expected http:// or https://"),
        ({"VLLM_REMOTE_URL": "http://me:secret@x/v1"}, "without a user, a password"),
        ({"REMOTE_OPENAI_ORG": "us"}, "REMOTE_OPENAI_ORG: no such setting"),
        ({"VLLM_REMOTE_RETRIES": "1"}, "did you mean VLLM_REMOTE_MAX_RETRIES?"),
        ({"BITNET_THREAD": "1"}, "did you mean BITNET_THREADS?"),
        ({"VLLM_GPU_MEMORY_UTILIZATION": "90"}, "'90' is not a number above 0 and up to 1"),
        ({"VLLM_REMOTE_TIMEOUT": "soon"}, "VLLM_REMOTE_TIMEOUT: 'soon"),
    ],
)
def test_what_is_missing_or_wrong_stops_the_start(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        catalog(**env)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_variables_of_vllms_own_are_its_own() -> None:
    assert catalog(VLLM_CPU_KVCACHE_SPACE="4", VLLM_LOGGING_LEVEL="DEBUG").resolve(CODER)


def test_a_model_that_names_its_backend_keeps_it(tmp_path: Path) -> None:
    file = write(tmp_path, f'[models."{CODER}"]\nbackend = "huggingface"\nkeep_alive = "1h"\n')
    assert catalog(file, LLM_BACKEND="vllm_remote", VLLM_REMOTE_URL=URL).resolve(CODER).runner == "process"
    file = write(tmp_path, f'[models."{CODER}"]\nkeep_alive = "1h"\n')
    spec = catalog(file, LLM_BACKEND="vllm_remote", VLLM_REMOTE_URL=URL).resolve(CODER)
    assert (spec.runner, spec.keep_alive) == ("remote", "1h")


def test_a_model_of_ones_own_that_writes_needs_no_backend(tmp_path: Path) -> None:
    file = write(tmp_path, OWN)
    spec = catalog(file).resolve("own")
    assert (spec.backend, spec.runner, spec.extra) == ("huggingface", "process", "huggingface")
    spec = catalog(file, LLM_BACKEND="vllm_remote", VLLM_REMOTE_URL=URL).resolve("own")
    assert (spec.backend, spec.options["model"]) == ("vllm_remote", "own")
    with pytest.raises(CatalogError, match="backend"):
        catalog(write(tmp_path, OWN.replace("generate", "embed")))


def test_a_key_goes_to_its_own_server_alone(tmp_path: Path) -> None:
    env = {"VLLM_REMOTE_URL": URL, "VLLM_REMOTE_API_KEY": "k"}
    table = '[models."far"]\ncapability = "generate"\nbackend = "vllm_remote"\n[models."far".options]\n'
    options: dict[str, Any] = {"model": "m"}
    there = catalog(write(tmp_path, table + 'model = "m"\n'), **env).resolve("far")
    assert there.options == options | {
        "base_url": URL,
        "key_variable": "VLLM_REMOTE_API_KEY",
        "timeout_s": 3600.0,
        "retries": 2,
    }
    elsewhere = catalog(write(tmp_path, table + 'model = "m"\nbase_url = "http://other/v1"\n'), **env)
    assert elsewhere.resolve("far").options == options | {"base_url": "http://other/v1"}


def test_variables_that_nothing_heeds_are_named() -> None:
    def said(**env: str) -> list[str]:
        settings = load_settings(env)
        return unused(settings, Catalog.load(None, {}, (), serving_of(settings)))

    assert said() == []
    told = said(VLLM_REMOTE_URL=URL, VLLM_REMOTE_API_KEY="k", VLLM_DTYPE="half", BITNET_THREADS="2")
    assert [line.partition(";")[0] for line in told] == [
        "no model runs with vllm_local, so nothing heeds VLLM_DTYPE",
        "no model runs with vllm_remote, so nothing heeds VLLM_REMOTE_URL, VLLM_REMOTE_API_KEY",
    ]
    assert said(LLM_BACKEND="vllm_remote", VLLM_REMOTE_URL=URL) == []
    [line] = said(LLM_BACKEND="vllm_remote", VLLM_REMOTE_URL=URL, HF_LOAD_4BIT="true")
    assert "no model runs with huggingface, so nothing heeds HF_LOAD_4BIT" in line


def test_what_users_of_the_system_before_this_one_have_set_still_starts() -> None:
    env = {
        "LLM_BACKEND": "huggingface",
        "HF_QUANTIZATION": "bitsandbytes",
        "HF_LOAD_4BIT": "true",
        "HF_FLASH_ATTENTION": "true",
        "VLLM_GPU_MEMORY_UTILIZATION": "0.90",
        "VLLM_TENSOR_PARALLEL_SIZE": "1",
        "VLLM_MAX_MODEL_LEN": "32768",
        "BITNET_PATH": "/path/to/BitNet",
        "BITNET_MODEL_PATH": "/path/to/model.gguf",
        "BITNET_THREADS": "4",
    }
    models = catalog(**env)
    assert models.resolve(CODER).options == {"quantization": "nf4", "attention": "flash_attention_2"}
    assert models.resolve("bitnet-2b").options == {"path": "/path/to/BitNet", "n_threads": 4}
    moved = catalog(**env | {"LLM_BACKEND": "vllm_local", "TURBOV2_VLLM_PYTHON": sys.executable}).resolve(
        CODER
    )
    assert (moved.backend, moved.extra, moved.runner) == ("vllm_local", "vllm", "process")
    told = ("gpu_memory_utilization", "tensor_parallel_size", "max_model_len", "python")
    assert [moved.options[name] for name in told] == [0.9, 1, 32768, sys.executable]


def test_keys_of_servers_are_not_shown() -> None:
    settings = load_settings({"VLLM_REMOTE_API_KEY": "hidden", "REMOTE_OPENAI_API_KEY": "hidden"})
    assert "hidden" not in repr(settings)
    assert "hidden" not in repr(serving_of(settings))


def test_bitnet_answers_under_the_names_of_what_it_takes_the_place_of(tmp_path: Path) -> None:
    program = tmp_path / "build/bin/llama-server"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    models = catalog(
        LLM_BACKEND="bitnet",
        BITNET_PATH=str(tmp_path),
        aliases=(("claude-*", CODER), ("mini", "smollm2-135m")),
    )
    for name in (CODER, CODER.upper(), "qwen2.5-coder:7b", REPO, "claude-x", "bitnet-2b"):
        assert models.resolve(name).name == "bitnet-2b"
    assert CODER not in [spec.name for spec in models]
    assert CODER in models.stands_in_for(models.resolve("bitnet-2b"))
    assert models.resolve("mini").name == "smollm2-135m"
    with pytest.raises(ModelNotFound):
        models.resolve("qwen3-32b")


def test_bitnets_variables(tmp_path: Path) -> None:
    env = {"BITNET_PATH": "/opt/bitnet", "BITNET_MODEL_PATH": "/models/b.gguf", "BITNET_THREADS": "3"}
    table = '[models."own"]\ncapability = "generate"\nbackend = "bitnet"\nrunner = "process"\n'
    file = write(tmp_path, table + 'weights = { kind = "path", path = "/models/own" }\n')
    models = catalog(file, **env)
    for name, path in (
        ("bitnet-2b", "/models/b.gguf"),
        ("bitnet-8b", "/models/b.gguf"),
        ("own", "/models/own"),
    ):
        spec = models.resolve(name)
        assert spec.weights == PathWeights(path)
        assert spec.options == {"path": "/opt/bitnet", "n_threads": 3}
    assert catalog().resolve("bitnet-2b").options == {}
