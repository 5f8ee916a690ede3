"""A conversation with images as the model's input: the checkpoint's own template and processor."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
import transformers
from transformers.models.lfm2_vl.processing_lfm2_vl import Lfm2VlProcessor

from turbov2.backends.chat_tokenizer import ChatTokenizer
from turbov2.backends.control_tokens import ControlTokens
from turbov2.backends.conversations import messages_of, tools_of
from turbov2.backends.prompt_errors import empty, holds, not_taken
from turbov2.backends.templates import PROBE, PROBE_TOOL, Message, begun_of, reply_of
from turbov2.backends.torch_models import DATA_ONLY, file_of, folder_of
from turbov2.backends.vision_language.lfm2_images import Lfm2Images, read_settings
from turbov2.errors import InvalidRequest, LoadFailed, ModelUnavailable, NotSupported
from turbov2.types import GenerateTask, ImagePart, LoadSpec, PromptMessage, ReplyFormat, TextPart

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

logger = logging.getLogger(__name__)

_AS_THEY_ARE = ControlTokens([])  # the library tells what users wrote from what the template did
_N_LAST = 16  # tokens of a prompt, among which is what begins an answer


class Encoded(NamedTuple):
    """A prompt: the model's keyword arguments, as the processor names them, on the CPU.

    begun: what it ends with and the answer begins with.
    """

    inputs: Any
    begun: str = ""


class Prompts:
    """Makes a model's input of what is asked. Thread-safe."""

    def __init__(self, spec: LoadSpec, model_type: str) -> None:
        """Raises: LoadFailed, ModelUnavailable when the processor needs a library that is not here."""
        self._processor = _load_processor(spec, model_type)
        self.tokenizer = self._processor.tokenizer
        self._image_token = getattr(self._processor, "image_token", "<image>")
        if not self._processor.chat_template:
            raise LoadFailed("the model folder has no chat template, so a conversation cannot be told to it")
        self._is_free = threading.Lock()  # a processor's tokenizer is changed by each call
        self._has_plain_system = self._wants_plain_system()
        self.reply = self._reply()
        self._answers = ChatTokenizer(self.tokenizer.backend_tokenizer, self.reply)

    def encode(self, task: GenerateTask, images: Sequence[Pixels]) -> Encoded:
        """Returns the prompt. Control tokens stand in it where the template wrote them, and nowhere else.

        Raises: InvalidRequest for a text that holds what stands for an image, which not every processor of
        the library keeps apart, or a conversation that the template does not take; NotSupported for tools
        that it does not tell the model of, and for images in a raw prompt.
        """
        messages, tools = messages_of(task, _AS_THEY_ARE), tools_of(task, _AS_THEY_ARE)
        if self._image_token in json.dumps([messages, tools], ensure_ascii=False):
            raise holds(self._image_token, "an image")
        if task.is_raw:
            return self._raw(task)
        if tools and not self.reply.has_tools:
            raise NotSupported("the model's chat template knows no tools; leave them out", param="tools")
        turns = [
            self._turn(message, told, images) for message, told in zip(task.messages, messages, strict=True)
        ]
        has_beginning = task.messages[-1].role == "assistant" and "tool_calls" not in turns[-1]
        wish = {} if task.thinks is None else {"enable_thinking": task.thinks, "thinking": task.thinks}
        inputs = self._applied(
            turns,
            tools=tools,
            add_generation_prompt=not has_beginning,
            continue_final_message=has_beginning,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,
            **wish,
        )
        last = inputs["input_ids"][0, -_N_LAST:].tolist()
        return Encoded(inputs, "" if has_beginning else begun_of(self.reply, self._answers.decode(last)))

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, without special tokens that mark nothing."""
        return self._answers.decode(ids)

    def _raw(self, task: GenerateTask) -> Encoded:
        parts = task.messages[0].parts
        if any(isinstance(part, ImagePart) for part in parts):
            raise NotSupported("this model takes no images in a raw prompt", param="raw")
        text = "".join(_texts(task.messages[0]))
        if not text:
            raise empty()
        with self._is_free:
            return Encoded(self.tokenizer(text, return_tensors="pt"))

    def _reply(self) -> ReplyFormat:
        asked = [{"role": "user", "content": [{"type": "text", "text": ""}]}]
        try:
            rendered = self._processor.apply_chat_template(asked, tools=[PROBE_TOOL], tokenize=False)
        except Exception:  # a stranger's program may fail in any way
            rendered = ""
        source = self._processor.chat_template
        return reply_of(source if isinstance(source, str) else "", has_tools=PROBE in rendered)

    def _applied(self, turns: list[dict[str, Any]], **options: Any) -> Any:
        try:
            with self._is_free:
                return self._processor.apply_chat_template(turns, **options)
        except jinja2.TemplateError as error:
            logger.warning("the chat template refused a conversation: %s", error)
            raise not_taken([turn["role"] for turn in turns]) from error
        except ValueError as error:
            if not options.get("continue_final_message"):
                raise
            logger.warning("the chat template did not go on with an assistant's message: %s", error)
            raise InvalidRequest(
                "the model's chat template cannot go on with a message of the assistant; end with the user's",
                param="messages",
            ) from error

    def _wants_plain_system(self) -> bool:
        """Returns whether the template reads a system message as one text, and not as a list of parts.

        Makers write both, also beside lists of parts for users, so one is tried.
        """
        turns = [{"role": role, "content": [{"type": "text", "text": PROBE}]} for role in ("system", "user")]
        try:
            rendered: str = self._processor.apply_chat_template(turns, tokenize=False)
        except (jinja2.TemplateError, TypeError):
            return True
        return rendered.count(PROBE) < 2 or "'text'" in rendered

    def _turn(self, message: PromptMessage, told: Message, images: Sequence[Pixels]) -> dict[str, Any]:
        """told: the message as templates that know no images take it."""
        if message.role == "system" and self._has_plain_system:
            return {"role": "system", "content": "\n".join(_texts(message))}
        parts = [
            {"type": "image", "image": images[part.index]}
            if isinstance(part, ImagePart)
            else {"type": "text", "text": part.text}
            for part in message.parts
            if isinstance(part, TextPart | ImagePart)
        ]
        return told | {"content": parts}


def n_tiles_of(inputs: Any) -> int:
    """Returns how many pieces the images were cut into; 0 for an input that does not tell."""
    if "image_grid_thw" in inputs:  # Qwen's: every image whole, its patches in one long list
        return len(inputs["image_grid_thw"])
    if "pixel_values" not in inputs:
        return 0
    shape: Sequence[int] = inputs["pixel_values"].shape
    return shape[0] * shape[1] if len(shape) == 5 else shape[0]  # Idefics': [texts, tiles, 3, h, w]


def _texts(message: PromptMessage) -> list[str]:
    return [part.text for part in message.parts if isinstance(part, TextPart)]


def _load_processor(spec: LoadSpec, model_type: str) -> Any:
    file_of(spec, "tokenizer.json")  # without it the library makes an empty tokenizer up
    folder = folder_of(spec)
    try:
        if model_type == "lfm2_vl":
            files = {name: Path(path).read_bytes() for name, path in spec.files.items() if "process" in name}
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **DATA_ONLY)
            images = Lfm2Images(read_settings(files))
            return Lfm2VlProcessor(images, tokenizer, chat_template=tokenizer.chat_template)
        return transformers.AutoProcessor.from_pretrained(folder, **DATA_ONLY)
    except ImportError as error:
        raise ModelUnavailable(
            f"the image processor of '{model_type}' needs torchvision, in the build that fits the torch "
            "installed here: pip install torchvision"
        ) from error
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        logger.exception("transformers did not load the processor")
        raise LoadFailed(
            "the folder has no processor that transformers reads: tokenizer.json, or the settings of images "
            "in processor_config.json or preprocessor_config.json, are missing or bad"
        ) from error
