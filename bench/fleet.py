"""Servers with models of our own: real ones in processes, and fakes of any size and speed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import minilm, model, processes
from bench.machine import child_environment
from bench.processes import Server

WORDLLAMA = model.MODEL  # in the event loop, as shipped
_BACKENDS = {"torch": "sentence", "pairs-torch": "cross_encoder"}
WORDLLAMA_PROCESS = "wordllama-process"  # the same weights behind a queue, in a process of their own


@dataclasses.dataclass(frozen=True)
class Fake:
    """A model of the fake backend in a process of its own. It holds `host_bytes`, allocated and touched."""

    name: str
    dimensions: int = 64
    max_tokens: int = 512
    host_bytes: int = 0
    load_delay_s: float = 0.0
    delay_s: float = 0.0  # per forward
    delay_s_per_token: float = 0.0
    priority: str = "normal"
    keep_alive: str = ""

    def table(self, folder: Path) -> str:
        """Returns the models file's table; the weights are a dummy file under `folder`."""
        (folder / "model.safetensors").write_bytes(b"dummy")
        options = {
            "dimensions": self.dimensions,
            "host_bytes": self.host_bytes,
            "load_delay_s": self.load_delay_s,
            "delay_s": self.delay_s,
            "delay_s_per_token": self.delay_s_per_token,
        }
        keys = {
            "backend": "fake",
            "dimensions": self.dimensions,
            "max_tokens": self.max_tokens,
            "host_bytes": self.host_bytes,
            "priority": self.priority,
            "keep_alive": self.keep_alive,
        }
        return _table(self.name, folder, keys) + _lines(f'[models."{self.name}".options]', options)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A model of `bench.minilm` under one of its engines, in a process of its own."""

    name: str
    engine: str
    priority: str = "normal"
    keep_alive: str = ""
    made: Path | None = None  # where its files stand already

    def table(self, folder: Path) -> str:
        """Returns the models file's table; files that are not made yet are made under `folder`."""
        keys: dict[str, str | float] = {
            "backend": _BACKENDS.get(self.engine, "onnx"),
            "priority": self.priority,
            "keep_alive": self.keep_alive,
        }
        if self.engine in minilm.PAIR_ENGINES:
            keys["capability"] = "rerank"
        return _table(self.name, self.made or minilm.make_folder(folder, self.engine), keys)


@dataclasses.dataclass(frozen=True)
class Whisper:
    """A Whisper model in CTranslate2's format, in a process of its own."""

    name: str
    made: Path  # where its files stand

    def table(self, folder: Path) -> str:
        """Returns the models file's table; nothing is written to `folder`."""
        return _table(self.name, self.made, {"backend": "whisper", "capability": "transcribe"})


@dataclasses.dataclass(frozen=True)
class Gguf:
    """A model in GGUF that writes text, in a process of its own. max_tokens: the context of each slot."""

    name: str
    file: Path
    max_tokens: int
    n_slots: int

    def table(self, folder: Path) -> str:
        """Returns the models file's table; `folder` gets a link to the file."""
        (folder / "model.gguf").symlink_to(self.file)
        keys = {"backend": "llama_cpp", "capability": "generate", "max_tokens": self.max_tokens}
        return _table(self.name, folder, keys) + f"options = {{ n_slots = {self.n_slots} }}\n"


# Takes an encoder's time: about what MiniLM needs on two cores, 11 ms for one text of 18 tokens.
ENCODER = Fake("encoder-process", dimensions=384, delay_s=0.006, delay_s_per_token=0.00028)


@contextlib.contextmanager
def serving(models: Sequence[Fake | Encoder | Whisper | Gguf] = (), **settings: str) -> Iterator[Server]:
    """A fresh server on a free port that knows `models` and WORDLLAMA_PROCESS.

    `settings` are variables without their TURBOV2_ prefix; all others have their defaults.
    """
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "models.toml"
        tables = [each.table(_folder(folder, each.name)) for each in models]
        file.write_text("\n".join([_wordllama_table(_folder(folder, WORDLLAMA_PROCESS)), *tables]))
        ours = {f"TURBOV2_{variable}": value for variable, value in settings.items()}
        ours |= {"TURBOV2_HOME": str(folder / "home"), "TURBOV2_MODELS_FILE": str(file)}
        environment = child_environment(HOST="127.0.0.1", PORT=str(port), **ours)
        with processes.running(processes.turbov2_command(), port, environment) as server:
            yield server


def _folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def _wordllama_table(folder: Path) -> str:
    for name, path in model.load_spec().files.items():
        (folder / name).symlink_to(path)
    keys = {"backend": "static", "dimensions": 256, "matryoshka": True, "host_bytes": 32_768_000}
    return _table(WORDLLAMA_PROCESS, folder, keys)


def _table(name: str, folder: Path, keys: dict[str, str | float]) -> str:
    head = f'[models."{name}"]\nweights = {{ kind = "path", path = {json.dumps(str(folder))} }}'
    return _lines(head, {"capability": "embed", "runner": "process"} | keys)


def _lines(head: str, keys: dict[str, str | float]) -> str:
    # TOML's strings, numbers and truth values are written as JSON's.
    return "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]) + "\n"
