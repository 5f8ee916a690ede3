"""A conversation as what llama.cpp reads: the model's template around texts that stay texts."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pybase64

from turbov2.backends.control_tokens import ControlTokens
from turbov2.backends.conversations import messages_of, tools_of
from turbov2.backends.llama_server.client import LlamaClient
from turbov2.backends.prompt_errors import holds, not_taken
from turbov2.backends.templates import ChatTemplate
from turbov2.errors import LoadFailed
from turbov2.types import GenerateTask, ImagePart, TextPart

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

logger = logging.getLogger(__name__)

Ids = list[str | int]  # texts, and ids between them
Prompt = str | Ids | dict[str, Any]  # as the route /completion takes it

# Where an image stands. llama.cpp reads it once in a process; no user can guess it.
IMAGE_MARK = f"<__image_{secrets.token_hex(8)}__>"
os.environ["LLAMA_MEDIA_MARKER"] = IMAGE_MARK

_CONTROL_TYPES = (2, 3)  # unknown, control
# llama.cpp takes some of this form for control tokens whatever their type in the file.
_CONTROL_FORM = re.compile(r"<[|\uff5c].*[|\uff5c]>")


class Encoded(NamedTuple):
    """A prompt. begun: what it ends with and the answer begins with."""

    prompt: Prompt
    begun: str = ""


class Prompts:
    """Makes a model's prompts."""

    def __init__(self, template: ChatTemplate, entries: Mapping[str, Any], client: LlamaClient) -> None:
        """entries: the file's header."""
        self._template = template
        self._client = client
        names = _control_names(entries)
        self.control_tokens = {name: name for name in names}  # as a grammar calls them
        self._control_tokens = ControlTokens(names)
        self._plain_ids: dict[str, list[int]] = {}  # at most all control tokens'
        added = self._ids_of("", add_special=True)
        is_bos = added == [entries.get("tokenizer.ggml.bos_token_id")]
        self._added_ids = added if is_bos else []  # what llama.cpp puts in front of a text

    def encode(self, task: GenerateTask, images: Sequence[Pixels]) -> Encoded:
        """Returns the prompt. Control tokens stand in it where the template wrote them, and nowhere else.

        Of a raw task the text is the prompt, and what control tokens it names is its author's affair.
        Raises: InvalidRequest for a conversation that the template does not take; with images, for a text
        that holds a control token or U+0000.
        """
        if task.is_raw:
            return Encoded(
                "".join(part.text for part in task.messages[0].parts if isinstance(part, TextPart))
            )
        rendered = self._rendered(task)
        begun = self._template.begun(rendered)
        if self._added_ids:
            rendered = rendered.removeprefix(self._template.bos_token)
        text, *named = self._control_tokens.cut(rendered)
        if not images:
            return Encoded(self._mixed(text, named) if named else text, begun)
        if named:
            raise holds(named[0], "a control token and cannot be read as a text beside an image")
        if "\0" in text:  # to llama.cpp a text with images ends there
            raise holds("U+0000", "the end of a text")
        packed = [_packed(images[index]) for index in _order(task)]
        return Encoded({"prompt_string": text, "multimodal_data": packed}, begun)

    def count(self, prompt: Prompt) -> int:
        """Returns how many tokens llama.cpp makes of a prompt, images included."""
        if not isinstance(prompt, dict):
            return len(self._ids_of(prompt, add_special=True, parse_special=True))
        message = {"role": "user", "content": list(_parts_of(prompt))}
        body = {"messages": [message]}
        return int(self._client.ask("/chat/completions/input_tokens", body)["input_tokens"])

    def _rendered(self, task: GenerateTask) -> str:
        messages = messages_of(task, self._control_tokens, IMAGE_MARK)
        try:
            return self._template.render(messages, tools_of(task, self._control_tokens), task.thinks)
        except Exception as error:  # a stranger's program may fail in any way
            logger.warning("the chat template refused a conversation: %s", error)
            raise not_taken([message.role for message in task.messages]) from error

    def _mixed(self, text: str, named: Sequence[str]) -> Ids:
        """Returns texts and, for each control token's name that a user wrote, the ids of its letters."""
        prompt: Ids = [*self._added_ids, text]
        for control, after in zip(named[::2], named[1::2], strict=True):
            if control not in self._plain_ids:
                self._plain_ids[control] = self._letters(control)
            prompt += [*self._plain_ids[control], after]
        return prompt

    def _letters(self, control: str) -> list[int]:
        """Returns the ids of a control token's name as a mere text."""
        ids = self._ids_of(control, parse_special=False)
        # Servers of before 2025 read its name as the token all the same.
        return ids if len(ids) > 1 else self._ids_of(list(control), parse_special=False)

    def _ids_of(self, text: str | Ids, **options: bool) -> list[int]:
        ids: list[int] = self._client.ask("/tokenize", {"content": text, **options})["tokens"]
        return ids


def read_template(entries: Mapping[str, Any]) -> ChatTemplate:
    """Returns the template of a file's header. Raises: LoadFailed."""
    tokens: list[str] = entries.get("tokenizer.ggml.tokens", [])
    bos_id, eos_id = (entries.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
    source = entries.get("tokenizer.chat_template")
    if not isinstance(source, str):
        raise LoadFailed("the GGUF file has no chat template, so a conversation cannot be told to it")
    return ChatTemplate(source, _token_of(tokens, bos_id), _token_of(tokens, eos_id))


def _order(task: GenerateTask) -> list[int]:
    parts = [part for message in task.messages for part in message.parts]
    return [part.index for part in parts if isinstance(part, ImagePart)]


def _parts_of(prompt: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields texts and images as llama.cpp's chat routes take them; it counts images nowhere else."""
    first, *others = prompt["prompt_string"].split(IMAGE_MARK)
    yield {"type": "text", "text": first}
    for packed, text in zip(prompt["multimodal_data"], others, strict=True):
        yield {"type": "image_url", "image_url": {"url": f"data:image/x-portable-pixmap;base64,{packed}"}}
        yield {"type": "text", "text": text}


def _packed(pixels: Pixels) -> str:
    """Returns uint8 `[h, w, 3]` as a file that holds just these pixels, the simplest that llama.cpp reads."""
    height, width, _ = pixels.shape
    return pybase64.b64encode_as_string(b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())


def _control_names(entries: Mapping[str, Any]) -> list[str]:
    tokens: list[str] = entries.get("tokenizer.ggml.tokens", [])
    types = entries.get("tokenizer.ggml.token_type", [0] * len(tokens))
    return [
        token
        for token, kind in zip(tokens, types, strict=False)
        if token and (kind in _CONTROL_TYPES or _CONTROL_FORM.fullmatch(token))
    ]


def _token_of(tokens: Sequence[str], token_id: int | None) -> str:
    return tokens[token_id] if token_id is not None and token_id < len(tokens) else ""
