"""What of a checkpoint is read here: its prompts and its sizes. The weights are vLLM's to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from turbov2.backends.chat_tokenizer import ChatTokenizer
from turbov2.backends.templates import ChatTemplate
from turbov2.backends.token_prompts import TokenPrompts
from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

_TEMPLATE_FILE = "chat_template.jinja"


def folder_of(spec: LoadSpec) -> Path:
    """Returns the checkpoint's folder. Raises: LoadFailed for files that are no checkpoint."""
    return _file_of(spec, "config.json").parent


def read_prompts(spec: LoadSpec) -> TokenPrompts:
    """Returns what makes the model's prompts. Raises: LoadFailed."""
    told = _read(_file_of(spec, "tokenizer_config.json"))
    source = _template_in(spec, told)
    if source is None:
        raise LoadFailed("the model folder has no chat template, so a conversation cannot be told to it")
    template = ChatTemplate(source, _token_in(told, "bos_token"), _token_in(told, "eos_token"))
    try:
        tokenizer = Tokenizer.from_file(str(_file_of(spec, "tokenizer.json")))
    except Exception as error:  # the library raises nothing more exact
        raise LoadFailed("tokenizer.json of the model folder is not one that tokenizers reads") from error
    return TokenPrompts(ChatTokenizer(tokenizer, template.reply), template)


def n_context(spec: LoadSpec, asked: int | None) -> int:
    """Returns how many tokens a prompt and its answer may have: the least of what was asked, of what the
    catalogue says and of what the checkpoint was made for. Raises: LoadFailed where nobody says.
    """
    config = _read(_file_of(spec, "config.json"))
    made_for = config.get("max_position_embeddings") or config.get("text_config", {}).get(
        "max_position_embeddings"
    )
    lengths = [each for each in (asked, spec.max_tokens, made_for) if isinstance(each, int)]
    if not lengths:
        raise LoadFailed("config.json has no max_position_embeddings; set VLLM_MAX_MODEL_LEN or max_tokens")
    return min(lengths)


def _file_of(spec: LoadSpec, name: str) -> Path:
    if name not in spec.files:
        raise LoadFailed(f"the model folder has no {name}, which backend '{spec.backend}' needs")
    return Path(spec.files[name])


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LoadFailed(f"{path.name} of the model folder cannot be read") from error
    return told if isinstance(told, dict) else {}


def _template_in(spec: LoadSpec, told: dict[str, Any]) -> str | None:
    """Returns the template of a file of its own, else the tokenizer's; of several the default one."""
    if _TEMPLATE_FILE in spec.files:
        return Path(spec.files[_TEMPLATE_FILE]).read_text("utf-8")
    source = told.get("chat_template")
    if isinstance(source, list):
        source = {each.get("name"): each.get("template") for each in source}.get("default")
    return source if isinstance(source, str) else None


def _token_in(told: dict[str, Any], name: str) -> str:
    token = told.get(name)
    return str((token.get("content") if isinstance(token, dict) else token) or "")
