"""The tokenizer and the template that lie beside a checkpoint, as transformers reads them."""

from __future__ import annotations

import logging
from typing import Any

import transformers

from turbov2.backends.chat_tokenizer import ChatTokenizer
from turbov2.backends.templates import ChatTemplate
from turbov2.backends.token_prompts import TokenPrompts
from turbov2.backends.torch_models import DATA_ONLY, file_of, folder_of
from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

logger = logging.getLogger(__name__)


class Prompts(TokenPrompts):
    """Makes a model's prompts. library_tokenizer: transformers'. Thread-safe."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        self.library_tokenizer = _load_tokenizer(spec)
        template = _template_of(self.library_tokenizer)
        super().__init__(ChatTokenizer(self.library_tokenizer.backend_tokenizer, template.reply), template)


def _load_tokenizer(spec: LoadSpec) -> Any:
    file_of(spec, "tokenizer.json")  # without it the library makes an empty tokenizer up
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder_of(spec), **DATA_ONLY)
    except (AttributeError, KeyError, ImportError, OSError, TypeError, ValueError) as error:
        logger.exception("transformers did not load the tokenizer")
        raise LoadFailed(
            "the folder has no tokenizer that transformers reads: tokenizer.json or tokenizer_config.json is "
            "missing or bad"
        ) from error
    if not tokenizer.is_fast:
        raise LoadFailed("the folder's tokenizer is not one that tokenizer.json can hold")
    return tokenizer


def _template_of(tokenizer: Any) -> ChatTemplate:
    source = tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    if not isinstance(source, str):
        raise LoadFailed("the model folder has no chat template, so a conversation cannot be told to it")
    return ChatTemplate(source, tokenizer.bos_token or "", tokenizer.eos_token or "")
