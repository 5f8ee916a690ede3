"""What a figure depends on beside the code: the machine, the versions, and who else was busy."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "deposium-embeddings-turbov2", "numpy", "scipy", "tokenizers", "orjson", "msgspec", "pybase64", "uvicorn",
    "uvloop", "httptools", "model2vec", "fastapi", "pydantic", "starlette", "granian", "hypercorn",
    "torch", "transformers", "sentence-transformers", "onnxruntime",
    "faster-whisper", "ctranslate2", "av", "jiwer", "whisper-normalizer", "xllamacpp",
)  # fmt: skip
# Some machines preset a BLAS kernel for other software, which slows numpy.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
QUIET_SHARE = 0.15  # of all cores, used by others: below it a figure is taken as it is
_WAIT_S = 40.0  # in all, for one run of the bench
_waited_s = 0.0


def child_environment(**extra: str) -> dict[str, str]:
    """Returns the environment of the bench's own processes: without UNSET and the server's own variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in UNSET and not name.startswith(("TURBOV2_", "HF_MODEL_"))
    }
    # This checkout's code, also where another one is installed.
    return kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"} | extra


def facts() -> dict[str, Any]:
    """Returns the machine and versions, without host name or paths."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "unset_for_children": [name for name in UNSET if name in os.environ],
        "load_average_before": [round(value, 2) for value in os.getloadavg()],
    }


def wait_until_quiet() -> float:
    """Returns the share of all cores that others used, once it is small or waiting has been long enough."""
    global _waited_s
    while True:
        share = psutil.cpu_percent(interval=0.4) / 100
        if share < QUIET_SHARE or _waited_s > _WAIT_S:
            return share
        time.sleep(1)
        _waited_s += 1.4


class Neighbours:
    """Measures how much of the machine processes other than ours used: `with Neighbours(...) as others`."""

    def __init__(self, *servers: psutil.Process | None) -> None:
        self._servers = [server for server in servers if server is not None]
        self.share = 0.0
        self.server_cores = 0.0

    def __enter__(self) -> Neighbours:
        self._before = (time.perf_counter(), _busy_s(), self._ours_s(), self._servers_s())
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._before[0]
        ours = self._ours_s() - self._before[2]
        others = _busy_s() - self._before[1] - ours
        self.server_cores = (self._servers_s() - self._before[3]) / seconds
        self.share = max(0.0, others / seconds / (os.cpu_count() or 1))

    def _servers_s(self) -> float:
        seconds = 0.0
        for server in self._servers:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended counts among the others
                seconds += sum(server.cpu_times()[:2])
        return seconds

    def _ours_s(self) -> float:
        """Returns CPU seconds of this process, its ended children and the servers."""
        own = os.times()
        return own.user + own.system + own.children_user + own.children_system + self._servers_s()


def _busy_s() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD") or "none yet"
    return f"{commit} with local changes" if git("status", "--porcelain", "--", "src") else commit


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    extras = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_bf16") if flag in flags]
    return " ".join([models[0] if models else platform.processor(), *extras])
