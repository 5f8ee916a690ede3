"""A conversation as token ids: the checkpoint's template around texts that stay texts."""

from __future__ import annotations

import logging
from typing import NamedTuple

from turbov2.backends.chat_tokenizer import ChatTokenizer
from turbov2.backends.control_tokens import ControlTokens
from turbov2.backends.conversations import messages_of, tools_of
from turbov2.backends.prompt_errors import empty, not_taken
from turbov2.backends.templates import ChatTemplate
from turbov2.types import GenerateTask, TextPart

logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """A prompt. begun: what it ends with and the answer begins with."""

    ids: list[int]
    begun: str = ""


class TokenPrompts:
    """Makes a model's prompts. Thread-safe."""

    def __init__(self, tokenizer: ChatTokenizer, template: ChatTemplate) -> None:
        self.tokenizer = tokenizer
        self.reply = template.reply
        self._template = template
        self._control_tokens = ControlTokens(tokenizer.control_names)

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
