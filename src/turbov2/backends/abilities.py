"""What a model that writes can do beside writing, by its files: it need not be loaded for that.

Judged by the words of its chat template, as Ollama does. Only runners run one: it is a stranger's program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turbov2.backends.gguf import model_file, read_entry
from turbov2.backends.marks import THINKING
from turbov2.errors import LoadFailed
from turbov2.types import Ability

_ALL: tuple[Ability, ...] = ("tools", "thinking")
_TOOLS = re.compile(r"\btools\b")
_MAX_FILE_BYTES = 16 << 20


def abilities_of(backend: str, files: Mapping[str, str], options: Mapping[str, Any]) -> tuple[Ability, ...]:
    """Returns what the model is told of or does by itself; nothing where its files do not say.

    Blocks: reads a header, or small files.
    """
    if backend in ("remote_openai", "vllm_remote"):
        return ("tools",)  # whether it thinks, its server does not tell
    if backend == "fake":
        told = {"tools": options.get("calls_tools"), "thinking": options.get("thinks")}
        return tuple(name for name in _ALL if told[name])
    source = _gguf_template(files) if backend in ("llama_cpp", "bitnet") else _folder_template(files)
    has = {"tools": _TOOLS.search(source), "thinking": any(tags.end in source for tags in THINKING)}
    return tuple(name for name in _ALL if has[name])


def _gguf_template(files: Mapping[str, str]) -> str:
    try:
        return str(read_entry(model_file(files), "tokenizer.chat_template") or "")
    except LoadFailed:
        return ""


def _folder_template(files: Mapping[str, str]) -> str:
    """Returns the template where transformers looks for it first."""
    if "chat_template.jinja" in files:
        return _text(files["chat_template.jinja"])
    for name in ("chat_template.json", "tokenizer_config.json"):
        template = _object(files.get(name)).get("chat_template")
        if template:  # several have names: those of the tools may be among them
            return template if isinstance(template, str) else json.dumps(template)
    return ""


def _object(path: str | None) -> dict[str, Any]:
    try:
        told = json.loads(_text(path)) if path else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _text(path: str) -> str:
    try:
        file = Path(path)
        return file.read_text("utf-8", "replace") if file.stat().st_size <= _MAX_FILE_BYTES else ""
    except OSError:
        return ""
