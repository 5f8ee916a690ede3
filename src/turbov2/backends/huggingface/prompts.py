"""A conversation as token ids: the checkpoint's template around texts that stay texts."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import transformers

from turbov2.backends.chat_tokenizer import ChatTokenizer
from turbov2.backends.control_tokens import ControlTokens
from turbov2.backends.conversations import messages_of, tools_of
from turbov2.backends.prompt_errors import empty, not_taken
from turbov2.backends.templates import ChatTemplate
from turbov2.backends.torch_models import DATA_ONLY, file_of, folder_of
from turbov2.errors import LoadFailed
from turbov2.types import GenerateTask, LoadSpec, TextPart

logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """A prompt. begun: what it ends with and the answer begins with."""

    ids: list[int]
    begun: str = ""


class Prompts:
    """Makes a model's prompts. Thread-safe."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        self.library_tokenizer = _load_tokenizer(spec)
        self._template = _template_of(self.library_tokenizer)
        self.reply = self._template.reply
        self.tokenizer = ChatTokenizer(self.library_tokenizer.backend_tokenizer, self.reply)
        self._control_tokens = ControlTokens(self.tokenizer.control_names)

    def encode(self, task: GenerateTask) -> Encoded:
        """Returns the prompt. Control tokens stand in it where the template wrote them, and nowhere else.

        Of a raw task the text is the prompt, and what control tokens it names is its author's affair.
        Raises: InvalidRequest for a conversation that the template does not take, and for an empty prompt.
        """
        if task.is_raw:
            parts = task.messages[0].parts
            text = "".join(part.text for part in parts if isinstance(part, TextPart))
            return _checked(Encoded(self.tokenizer.encode(text, adds_special=True)))
        rendered = self._rendered(task)
        text, *named = self._control_tokens.cut(rendered)
        ids = self.tokenizer.encode(text)
        for control, after in zip(named[::2], named[1::2], strict=True):
            ids += [*self.tokenizer.letters(control), *self.tokenizer.encode(after)]
        return _checked(Encoded(ids, self._template.begun(rendered)))

    def _rendered(self, task: GenerateTask) -> str:
        messages = messages_of(task, self._control_tokens)
        try:
            return self._template.render(messages, tools_of(task, self._control_tokens), task.thinks)
        except Exception as error:  # a stranger's program may fail in any way
            logger.warning("the chat template refused a conversation: %s", error)
            raise not_taken([message.role for message in task.messages]) from error


def _checked(prompt: Encoded) -> Encoded:
    if not prompt.ids:
        raise empty()
    return prompt


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
