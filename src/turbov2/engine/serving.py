"""What the variables of engines say: LLM_BACKEND, and those of each backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turbov2.backends.registry import BACKENDS, program_of
from turbov2.catalog import Catalog, Serving
from turbov2.settings import SETTINGS, Settings, SettingsError

_PREFIXES = (
    ("hf_", "huggingface"),
    ("vllm_remote_", "vllm_remote"),
    ("remote_openai_", "remote_openai"),
    ("vllm_", "vllm_local"),
)  # of fields of settings, and whose they are
# LLM_BACKEND → the setting without which nothing of it can run, and what it has to name.
_NEEDED = {
    "vllm_local": ("vllm_python", "TURBOV2_VLLM_PYTHON", "the Python of an environment that has vLLM"),
    "vllm_remote": ("vllm_remote_url", "VLLM_REMOTE_URL", "the server's base URL, as http://gpu-box:8000/v1"),
    "remote_openai": ("remote_openai_url", "REMOTE_OPENAI_URL", "the server's base URL, with its /v1"),
    "bitnet": ("bitnet_path", "BITNET_PATH", "the folder of a built bitnet.cpp, with build/bin/llama-server"),
}


def serving_of(settings: Settings) -> Serving:
    """Returns how models are run that leave it open. Raises: SettingsError for a variable that is missing."""
    serving = Serving(
        llm_backend=settings.llm_backend,
        options={
            "huggingface": settings.huggingface_options(),
            "vllm_local": _vllm_local(settings),
            "vllm_remote": _remote(settings, "vllm_remote"),
            "remote_openai": _remote_openai(settings),
            "bitnet": _bitnet(settings),
        },
        files={"bitnet": settings.bitnet_model_path},
    )
    _check(settings, serving)
    return serving


def unused(settings: Settings, catalog: Catalog) -> list[str]:
    """Returns a sentence for each backend whose variables are set, and which runs no model."""
    running = {spec.backend for spec in catalog}
    idle: dict[str, list[str]] = {}
    for setting in SETTINGS:
        backend = next((each for prefix, each in _PREFIXES if setting.field.startswith(prefix)), "")
        if backend and backend not in running and settings.sources[setting.field] != "default":
            idle.setdefault(backend, []).append(setting.variable)
    return [
        f"no model runs with {backend}, so nothing heeds {', '.join(variables)}; LLM_BACKEND={backend}, or "
        "`backend` in the models file, would have one do so"
        for backend, variables in idle.items()
    ]


def _check(settings: Settings, serving: Serving) -> None:
    """Raises: SettingsError where LLM_BACKEND lacks what it needs."""
    backend = settings.llm_backend
    if backend not in _NEEDED:
        return
    field, variable, meaning = _NEEDED[backend]
    if not (value := getattr(settings, field)):
        raise SettingsError(f"LLM_BACKEND={backend} needs {variable}: {meaning}")
    if BACKENDS[backend].program and program_of(backend, serving.options[backend]) is None:
        raise SettingsError(f"{variable}: there is no program to run at '{value}'; expected {meaning}")
    file = serving.files.get(backend)
    if file and not Path(file).expanduser().exists():
        raise SettingsError(f"BITNET_MODEL_PATH: there is no file '{file}'")


def _vllm_local(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "python": settings.vllm_python,
        "gpu_memory_utilization": settings.vllm_gpu_memory_utilization,
        "tensor_parallel_size": settings.vllm_tensor_parallel_size,
        "max_num_seqs": settings.vllm_max_num_seqs,
        "dtype": settings.vllm_dtype,
        "quantization": settings.vllm_quantization,
        "enforce_eager": settings.vllm_enforce_eager,
        "prefix_caching": settings.vllm_prefix_caching,
        "cpu_cache_gib": settings.vllm_cpu_cache_gib,
    }
    return options | ({"max_model_len": settings.vllm_max_model_len} if settings.vllm_max_model_len else {})


def _remote(settings: Settings, backend: str) -> dict[str, Any]:
    """Returns where a backend's models run elsewhere; the fields of its settings begin with its name."""
    if not getattr(settings, f"{backend}_url"):
        return {}
    has_key = getattr(settings, f"{backend}_api_key")
    return {
        "base_url": getattr(settings, f"{backend}_url"),
        "key_variable": f"{backend.upper()}_API_KEY" if has_key else "",
        "timeout_s": getattr(settings, f"{backend}_timeout_s"),
        "retries": getattr(settings, f"{backend}_retries"),
    }


def _remote_openai(settings: Settings) -> dict[str, Any]:
    options = _remote(settings, "remote_openai")
    return options | (
        {"model": settings.remote_openai_model} if options and settings.remote_openai_model else {}
    )


def _bitnet(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"path": settings.bitnet_path} if settings.bitnet_path else {}
    return options | ({"n_threads": settings.bitnet_threads} if settings.bitnet_threads else {})
