"""Settings: every knob of the server in one frozen object, read once at start.

The only module that reads the environment. A value that does not parse, or an unknown name under a prefix
of ours, stops the start and is named. Flags of the command line win over the environment.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from turbov2.setting_values import (
    Secret,
    duration,
    integer,
    one_of,
    parse_aliases,
    parse_bool,
    parse_device,
    parse_fraction,
    parse_list,
    parse_llm_backend,
    parse_patience,
    parse_text,
    parse_url,
)
from turbov2.units import parse_bytes, parse_duration_s

PREFIX = "TURBOV2_"
# Names under these are ours, too. Of VLLM_, most are vLLM's own, which it reads itself.
_PREFIXES = (PREFIX, "BITNET_", "REMOTE_OPENAI_", "VLLM_REMOTE_")


class SettingsError(Exception):
    """Settings that cannot be used: each problem names the variable, the value and what is expected."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Setting(msgspec.Struct, frozen=True):
    """One knob: its field, its variable, what it accepts and one sentence about it."""

    field: str
    variable: str
    default: str  # as it would be written in the environment
    kind: str  # shown to people
    parse: Callable[[str], Any]
    meaning: str
    is_secret: bool = False


# One setting an entry: field, variable, default, kind, parser, meaning.
# fmt: off
SETTINGS: tuple[Setting, ...] = (
    Setting("host", "HOST", "0.0.0.0", "address", parse_text,
            "Address the server listens on."),
    Setting("port", "PORT", "11435", "port", integer(0, 65535),
            "Port the server listens on; 0 picks a free one."),
    Setting("api_key", "EMBEDDINGS_API_KEY", "", "keys", Secret,
            "Keys that may call the server, comma-separated; `@file` reads one key a line. Empty: open to"
            " all.", is_secret=True),
    Setting("open_paths", "TURBOV2_OPEN_PATHS", "/,/health,/livez,/readyz,/healthz,/console,/console/*",
            "paths", parse_list,
            "Paths answered without a key; a trailing * matches everything below."),
    Setting("allowed_hosts", "TURBOV2_ALLOWED_HOSTS", "", "hosts", parse_list,
            "Host names accepted beside IP addresses, localhost and single-label names; `*` accepts all. "
            "Empty: checked only when listening on loopback."),
    Setting("cors_origins", "CORS_ALLOWED_ORIGINS",
            "http://localhost:*,http://127.0.0.1:*,https://localhost:*,https://127.0.0.1:*",
            "origins", parse_list,
            "Browser origins that may call the server; `*` in a port or alone matches any."),
    Setting("home", "TURBOV2_HOME", "~/.local/share/turbov2", "folder", parse_text,
            "Where pulled packages and the list of installed models are kept (hub files live in HF_HOME)."),
    Setting("models_file", "TURBOV2_MODELS_FILE", "", "file", parse_text,
            "TOML file that adds or overrides models; empty: `models.toml` in TURBOV2_HOME, if it exists."),
    Setting("model_aliases", "TURBOV2_MODEL_ALIASES", "", "names", parse_aliases,
            "Further names of models, as in `gpt-4o=smollm2-135m,claude-*=smollm2-135m`: a * at the end "
            "stands for anything. Answers name the model that was used."),
    Setting("auto_pull", "TURBOV2_AUTO_PULL", "true", "bool", parse_bool,
            "Fetch the weights of a catalogued, pinned model when it is first asked for."),
    Setting("accept_licenses", "TURBOV2_ACCEPT_LICENSES", "", "models", parse_list,
            "Models whose licence you have read and accept, though it restricts their use. Without it they "
            "are pulled only by `turbov2 pull --accept-license`, or `accept_license` in /api/pull."),
    Setting("default_embed_model", "TURBOV2_DEFAULT_EMBED_MODEL", "wordllama-256d", "model", parse_text,
            "Model that embeds when a request names none."),
    Setting("default_rerank_model", "TURBOV2_DEFAULT_RERANK_MODEL", "wordllama-256d", "model", parse_text,
            "Model that ranks when a request names none; an embedding model ranks by cosine."),
    Setting("preload", "TURBOV2_PRELOAD", "wordllama-256d", "models", parse_list,
            "Models loaded before the server is ready, and kept; `none` for none."),
    Setting("pin", "TURBOV2_PIN", "", "models", parse_list,
            "Models kept once they are loaded, whatever keep_alive says; preloaded ones always are."),
    Setting("keep_alive_s", "TURBOV2_KEEP_ALIVE", "5m", "duration", parse_duration_s,
            "How long an idle model stays loaded when a request does not say; negative: for ever."),
    Setting("host_budget_bytes", "TURBOV2_HOST_BUDGET", "0", "size", parse_bytes,
            "Host memory that loaded models may take in all; 0: 80 % of the container's or machine's "
            "memory."),
    Setting("vram_budget_bytes", "TURBOV2_VRAM_BUDGET", "5GB", "size", parse_bytes,
            "Memory that loaded models may take on each CUDA device; less on a card that has less."),
    Setting("hf_quantization", "HF_QUANTIZATION", "none", "name",
            one_of("none", "bitsandbytes"),
            "`bitsandbytes`: models of the backend huggingface are loaded in 4 bits (NF4), where their "
            "options do not say otherwise."),
    Setting("hf_load_4bit", "HF_LOAD_4BIT", "false", "bool", parse_bool,
            "The same as HF_QUANTIZATION=bitsandbytes, for which there are no other bits."),
    Setting("hf_flash_attention", "HF_FLASH_ATTENTION", "false", "bool", parse_bool,
            "Models of the backend huggingface use flash attention where it can run, where their options do"
            " not say otherwise."),
    Setting("llm_backend", "LLM_BACKEND", "huggingface", "backend", parse_llm_backend,
            "What runs language models that leave it open; see llm-backends.md."),
    Setting("vllm_python", "TURBOV2_VLLM_PYTHON", "", "file", parse_text,
            "Python of an environment in which vLLM is installed, for models of the backend vllm_local."),
    Setting("vllm_gpu_memory_utilization", "VLLM_GPU_MEMORY_UTILIZATION", "0.9", "fraction", parse_fraction,
            "Part of a CUDA device's memory that a vLLM takes, weights and cache; TURBOV2_VRAM_BUDGET has to "
            "allow it."),
    Setting("vllm_tensor_parallel_size", "VLLM_TENSOR_PARALLEL_SIZE", "1", "devices", integer(1, 64),
            "CUDA devices that a vLLM spreads a model over: the model's own and those that follow it."),
    Setting("vllm_max_model_len", "VLLM_MAX_MODEL_LEN", "0", "tokens", integer(0, 100_000_000),
            "Most tokens of a prompt and its answer in a vLLM; 0: as the model says."),
    Setting("vllm_max_num_seqs", "VLLM_MAX_NUM_SEQS", "64", "answers", integer(1, 1024),
            "Answers that a vLLM writes at a time; more wait."),
    Setting("vllm_dtype", "VLLM_DTYPE", "auto", "name", one_of("auto", "half", "float16", "bfloat16",
                                                               "float", "float32"),
            "Numbers that a vLLM computes with; `auto`: as the checkpoint says."),
    Setting("vllm_quantization", "VLLM_QUANTIZATION", "", "name", parse_text,
            "How a vLLM quantises or takes weights to be quantised, as `awq` or `bitsandbytes`; empty: as "
            "the checkpoint says."),
    Setting("vllm_enforce_eager", "VLLM_ENFORCE_EAGER", "false", "bool", parse_bool,
            "A vLLM compiles nothing and records no CUDA graphs: it is ready sooner and writes more slowly."),
    Setting("vllm_prefix_caching", "VLLM_PREFIX_CACHING", "true", "bool", parse_bool,
            "A vLLM does not read again what prompts have in common."),
    Setting("vllm_cpu_cache_gib", "VLLM_CPU_KVCACHE_SPACE", "2", "GiB", integer(1, 4096),
            "Host memory for what a vLLM built for the CPU remembers of prompts and answers."),
    Setting("vllm_remote_url", "VLLM_REMOTE_URL", "", "URL", parse_url,
            "Where models of the backend vllm_remote run that do not say: `http://gpu-box:8000/v1`."),
    Setting("vllm_remote_api_key", "VLLM_REMOTE_API_KEY", "", "key", Secret,
            "Key of that server; empty: none is sent.", is_secret=True),
    Setting("vllm_remote_timeout_s", "VLLM_REMOTE_TIMEOUT", "1h", "duration", parse_patience,
            "How long a whole answer of that server may take; a bare number means seconds."),
    Setting("vllm_remote_retries", "VLLM_REMOTE_MAX_RETRIES", "2", "times", integer(0, 10),
            "How often it is asked again while it has not answered."),
    Setting("remote_openai_url", "REMOTE_OPENAI_URL", "", "URL", parse_url,
            "Where models of the backend remote_openai run that do not say."),
    Setting("remote_openai_api_key", "REMOTE_OPENAI_API_KEY", "", "key", Secret,
            "Key of that server; empty: none is sent.", is_secret=True),
    Setting("remote_openai_model", "REMOTE_OPENAI_MODEL", "", "model", parse_text,
            "Name there of models that do not say; empty: the repository that they are from."),
    Setting("remote_openai_timeout_s", "REMOTE_OPENAI_TIMEOUT", "1h", "duration", parse_patience,
            "How long a whole answer of that server may take; a bare number means seconds."),
    Setting("remote_openai_retries", "REMOTE_OPENAI_MAX_RETRIES", "2", "times", integer(0, 10),
            "How often it is asked again while it has not answered."),
    Setting("bitnet_path", "BITNET_PATH", "", "folder", parse_text,
            "A built bitnet.cpp; its llama-server runs models of the backend bitnet."),
    Setting("bitnet_model_path", "BITNET_MODEL_PATH", "", "file", parse_text,
            "GGUF file that models of the backend bitnet run from; empty: each from its own weights."),
    Setting("bitnet_threads", "BITNET_THREADS", "0", "threads", integer(0, 1024),
            "Cores that bitnet.cpp uses; 0: all."),
    Setting("device", "TURBOV2_DEVICE", "auto", "device", parse_device,
            "Where models run that gain from a CUDA device: `cpu`, `cuda:0` and the like, or `auto`, the "
            "first whose budget holds them, else the CPU. A model's own `device` counts before it."),
    Setting("load_timeout_s", "TURBOV2_LOAD_TIMEOUT", "10m", "duration", parse_duration_s,
            "How long a request waits for its model to load."),
    Setting("request_timeout_s", "TURBOV2_REQUEST_TIMEOUT", "0", "duration", parse_duration_s,
            "Longest a request may take in all; then it stops and is answered 504. 0: none but the one in "
            "X-Request-Timeout. Pulls have none."),
    Setting("max_queue_items", "TURBOV2_MAX_QUEUE", "65536", "items", integer(1, 100_000_000),
            "Items (texts) that may be in work or waiting for one model; more are answered 429 (503 on "
            "Ollama's API)."),
    Setting("max_queue_bytes", "TURBOV2_MAX_QUEUE_BYTES", "64MiB", "size", parse_bytes,
            "The same as characters of text."),
    Setting("max_total_queue_items", "TURBOV2_MAX_TOTAL_QUEUE", "131072", "items", integer(1, 100_000_000),
            "The same for all models together."),
    Setting("max_total_queue_bytes", "TURBOV2_MAX_TOTAL_QUEUE_BYTES", "256MiB", "size", parse_bytes,
            "The same for all models together, as characters."),
    Setting("vector_cache_bytes", "TURBOV2_VECTOR_CACHE", "0", "size", parse_bytes,
            "Memory in which each loaded model remembers vectors of texts it has seen; 0: none."),
    Setting("max_body_bytes", "TURBOV2_MAX_BODY", "64MiB", "size", parse_bytes,
            "Largest request body; more is answered 413."),
    Setting("max_texts", "TURBOV2_MAX_TEXTS", "32768", "texts", integer(1, 10_000_000),
            "Most texts in one request."),
    Setting("max_text_chars", "TURBOV2_MAX_TEXT_CHARS", "1000000", "characters", integer(1, 1_000_000_000),
            "Longest single text."),
    Setting("max_images", "TURBOV2_MAX_IMAGES", "100", "images", integer(1, 256),
            "Most images in one conversation, each page of a document counted."),
    Setting("media_children", "TURBOV2_MEDIA_CHILDREN", "2", "processes", integer(1, 64),
            "Images and documents read at once, each in a process of its own; more wait. As many audio files "
            "beside them."),
    Setting("media_max_pixels", "TURBOV2_MEDIA_MAX_PIXELS", "80000000", "pixels", integer(1, 1_000_000_000),
            "Largest image, all images of one conversation, and the bound of rendered pages; a reading "
            "process may map 16 bytes for each."),
    Setting("media_max_pages", "TURBOV2_MEDIA_MAX_PAGES", "2000", "pages", integer(1, 1_000_000),
            "Longest PDF or TIFF."),
    Setting("media_timeout_s", "TURBOV2_MEDIA_TIMEOUT", "30s", "duration", duration(0.1, 3600),
            "How long reading an image or one page may take, and audio that makes no progress; then its "
            "process is ended."),
    Setting("audio_max_upload_bytes", "TURBOV2_AUDIO_MAX_UPLOAD", "2GiB", "size", parse_bytes,
            "Largest body that brings an audio file, as a form or as bare bytes; more is answered 413. "
            "Base64 in JSON has the limit of all bodies."),
    Setting("audio_max_duration_s", "TURBOV2_AUDIO_MAX_DURATION", "4h", "duration", duration(1, 1e6),
            "Longest audio, counted while it is decoded; more is answered 413."),
    Setting("audio_disk_bytes", "TURBOV2_AUDIO_DISK", "8GiB", "size", parse_bytes,
            "Disk in TURBOV2_HOME that audio files may take while they arrive and are read, and their "
            "samples (115 MB an hour) again; a file for which there is no room is answered 429."),
    Setting("live_sessions", "TURBOV2_LIVE_SESSIONS", "16", "sessions", integer(0, 10_000),
            "Sessions of live speech at once; one more is answered 429. 0: none."),
    Setting("live_idle_s", "TURBOV2_LIVE_IDLE", "5m", "duration", duration(1, 86_400),
            "How long a session of live speech may send nothing; then it is ended."),
    Setting("jobs_at_once", "TURBOV2_JOBS", "1", "jobs", integer(1, 64),
            "Jobs worked on at once; more wait. Kept with their inputs and results in TURBOV2_HOME."),
    Setting("job_bytes", "TURBOV2_JOB_BYTES", "2GiB", "size", parse_bytes,
            "Inputs and results of all jobs together; a job for which there is no room is answered 429."),
    Setting("job_age_s", "TURBOV2_JOB_AGE", "24h", "duration", duration(1, 1e9),
            "How long a job and its results are kept after its end."),
    Setting("console", "TURBOV2_CONSOLE", "true", "bool", parse_bool,
            "Serve the page at `/console`; it shows nothing without a key where one is required."),
    Setting("drain_s", "TURBOV2_DRAIN", "25s", "duration", parse_duration_s,
            "How long running requests may finish after SIGTERM."),
    Setting("access_log", "TURBOV2_ACCESS_LOG", "true", "bool", parse_bool,
            "Write one log line per request."),
    Setting("log_level", "TURBOV2_LOG_LEVEL", "info", "level", one_of("debug", "info", "warning", "error"),
            "Least severe log line written."),
    Setting("log_format", "TURBOV2_LOG_FORMAT", "console", "format", one_of("console", "json"),
            "Log lines for people or for machines."),
)
# fmt: on


class Settings(msgspec.Struct, frozen=True):
    """The values of all settings, and where each came from."""

    host: str
    port: int
    api_key: str
    open_paths: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]
    home: str
    models_file: str
    model_aliases: tuple[str, ...]  # NAME=MODEL
    auto_pull: bool
    accept_licenses: tuple[str, ...]
    default_embed_model: str
    default_rerank_model: str
    preload: tuple[str, ...]
    pin: tuple[str, ...]
    keep_alive_s: float
    host_budget_bytes: int
    vram_budget_bytes: int
    load_timeout_s: float
    request_timeout_s: float
    max_queue_items: int
    max_queue_bytes: int
    max_total_queue_items: int
    max_total_queue_bytes: int
    vector_cache_bytes: int
    hf_quantization: str
    hf_load_4bit: bool
    hf_flash_attention: bool
    llm_backend: str
    vllm_python: str
    vllm_gpu_memory_utilization: float
    vllm_tensor_parallel_size: int
    vllm_max_model_len: int
    vllm_max_num_seqs: int
    vllm_dtype: str
    vllm_quantization: str
    vllm_enforce_eager: bool
    vllm_prefix_caching: bool
    vllm_cpu_cache_gib: int
    vllm_remote_url: str
    vllm_remote_api_key: str
    vllm_remote_timeout_s: float
    vllm_remote_retries: int
    remote_openai_url: str
    remote_openai_api_key: str
    remote_openai_model: str
    remote_openai_timeout_s: float
    remote_openai_retries: int
    bitnet_path: str
    bitnet_model_path: str
    bitnet_threads: int
    device: str
    max_body_bytes: int
    max_texts: int
    max_text_chars: int
    max_images: int
    media_children: int
    media_max_pixels: int
    media_max_pages: int
    media_timeout_s: float
    audio_max_upload_bytes: int
    audio_max_duration_s: float
    audio_disk_bytes: int
    live_sessions: int
    live_idle_s: float
    jobs_at_once: int
    job_bytes: int
    job_age_s: float
    console: bool
    drain_s: float
    access_log: bool
    log_level: str
    log_format: str
    sources: dict[str, str]  # field → "default", "environment" or "flag"
    hub_overrides: dict[str, str]  # HF_MODEL_* variables that are set

    @property
    def home_path(self) -> Path:
        """The data folder, with ~ resolved."""
        return Path(self.home).expanduser()

    def huggingface_options(self) -> dict[str, str]:
        """Returns the options of models of that backend that lack them. Raises: SettingsError."""
        is_nf4 = self.hf_quantization == "bitsandbytes" or self.hf_load_4bit
        said = {self.sources["hf_quantization"], self.sources["hf_load_4bit"]}
        if "default" not in said and self.hf_load_4bit != (self.hf_quantization == "bitsandbytes"):
            load_4bit = str(self.hf_load_4bit).lower()
            raise SettingsError(
                f"HF_QUANTIZATION={self.hf_quantization} and HF_LOAD_4BIT={load_4bit} contradict each other: "
                "bitsandbytes quantises to 4 bits here, and nothing else does; leave one out"
            )
        options = {"quantization": "nf4"} if is_nf4 else {}
        return options | ({"attention": "flash_attention_2"} if self.hf_flash_attention else {})

    def api_keys(self) -> tuple[str, ...]:
        """Returns the configured keys, files read. Raises: SettingsError."""
        keys: list[str] = []
        for entry in parse_list(self.api_key):
            keys += _read_keys(entry[1:]) if entry.startswith("@") else [entry]
        return tuple(keys)


def read_secret(variable: str) -> Secret | None:
    """Returns what a variable holds that a models file names; None if it is not set, or empty."""
    value = os.environ.get(variable, "").strip()
    return Secret(value) if value else None


def _read_keys(path: str) -> list[str]:
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"EMBEDDINGS_API_KEY: the key file '{path}' cannot be read") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise SettingsError(f"EMBEDDINGS_API_KEY: the key file '{path}' holds no key")
    return keys


def load_settings(
    environment: Mapping[str, str] | None = None, flags: Mapping[str, str | None] | None = None
) -> Settings:
    """Returns the settings of this start: defaults, then the environment, then `flags` by field name.

    Raises: SettingsError naming every setting that cannot be used.
    """
    env = os.environ if environment is None else environment
    given = {field: text for field, text in (flags or {}).items() if text is not None}
    problems = _unknown_names(env)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        text, sources[setting.field] = _pick(setting, env, given)
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            problems.append(f"{setting.variable}: {error}")
    if problems:
        raise SettingsError(*problems)
    overrides = {name: value for name, value in env.items() if name.startswith("HF_MODEL_") and value}
    settings = Settings(**values, sources=sources, hub_overrides=overrides)
    settings.api_keys()  # an unreadable key file must stop the start, not the first request
    settings.huggingface_options()
    return settings


def _pick(setting: Setting, env: Mapping[str, str], flags: Mapping[str, str]) -> tuple[str, str]:
    if setting.field in flags:
        return flags[setting.field], "flag"
    # An empty variable is how Compose files say "not set".
    if env.get(setting.variable):
        return env[setting.variable], "environment"
    return setting.default, "default"


def _unknown_names(env: Mapping[str, str]) -> list[str]:
    known = {setting.variable for setting in SETTINGS}
    problems = []
    for name in sorted(env):
        if name.startswith(_PREFIXES) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"{name}: no such setting{hint}")
    return problems
