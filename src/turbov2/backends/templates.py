"""A model's chat template, run as transformers does, in a sandbox: it is a stranger's program."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from turbov2.backends.marks import CALLS, THINKING
from turbov2.errors import LoadFailed
from turbov2.types import ReplyFormat

Message = dict[str, Any]  # role, content: str, and as OpenAI names them tool_calls, reasoning_content, ...

PROBE = "1f7e2c"  # what no template says by itself
PROBE_TOOL = {
    "type": "function",
    "function": {"name": PROBE, "description": "", "parameters": {"type": "object", "properties": {}}},
}


class ChatTemplate:
    """Makes one text of a conversation. `reply`: how its model marks what it thinks and calls."""

    def __init__(self, source: str, bos_token: str, eos_token: str) -> None:
        """Raises: LoadFailed for a template that is none, or that does not write what a user says."""
        self.bos_token = bos_token
        self._eos_token = eos_token
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise LoadFailed("the model's chat template is not one that Jinja reads") from error
        self._wants_parts = False  # of a message, rather than its text
        if not self._writes_a_user():
            self._wants_parts = True
            if not self._writes_a_user():
                raise LoadFailed("the model's chat template leaves out what a user says")
        self.reply = reply_of(source, has_tools=self._writes_a_tool())

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]] | None = None,
        thinks: bool | None = None,
    ) -> str:
        """Returns the prompt; an assistant's words at the end are left open, to be gone on with.

        tools: as OpenAI's API has them. thinks: None: as the template does by itself.
        Raises: what the template raises for a conversation that it does not take, of whatever kind.
        """
        last = messages[-1]
        is_open = last["role"] == "assistant" and not last.get("tool_calls")
        wish = {} if thinks is None else {"enable_thinking": thinks, "thinking": thinks}
        rendered = self._run(messages[:-1] if is_open else messages, tools, **wish)
        if not is_open:
            return rendered
        return rendered.removesuffix(self.begun(rendered)) + str(last["content"])

    def begun(self, rendered: str) -> str:
        """Returns what a prompt ends with and an answer begins with: the mark in front of thoughts."""
        return begun_of(self.reply, rendered)

    def _run(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None, **wish: bool) -> str:
        rendered: str = self._template.render(
            messages=[self._told(message) for message in messages],
            add_generation_prompt=True,
            bos_token=self.bos_token,
            eos_token=self._eos_token,
            tools=tools or None,
            documents=None,
            **wish,
        )
        return rendered

    def _told(self, message: Message) -> Message:
        if not self._wants_parts:
            return message
        return message | {"content": [{"type": "text", "text": message["content"]}]}

    def _writes_a_user(self) -> bool:
        rendered = self._tried(PROBE, None)
        return PROBE in rendered and "'text'" not in rendered

    def _writes_a_tool(self) -> bool:
        return PROBE in self._tried("", [PROBE_TOOL])

    def _tried(self, said: str, tools: Sequence[dict[str, Any]] | None) -> str:
        """Returns what it makes of a conversation of one turn; empty if it does not take it."""
        try:
            return self._run([{"role": "user", "content": said}], tools)
        except Exception:  # a stranger's program may fail in any way
            return ""


def reply_of(source: str, *, has_tools: bool) -> ReplyFormat:
    """Returns how a template's model marks what it thinks and calls. has_tools: it is told about tools."""
    return ReplyFormat(
        next((tags for tags in THINKING if tags.end in source), None),
        tuple(tags for tags in CALLS if has_tools and tags.begin in source and tags.end in source),
        has_tools,
    )


def begun_of(reply: ReplyFormat, rendered: str) -> str:
    """Returns what a prompt ends with and an answer begins with: the mark in front of thoughts."""
    tags = reply.thinking
    return rendered[rendered.rindex(tags.begin) :] if tags and _ends_with(rendered, tags.begin) else ""


class _Generation(Extension):
    """`{% generation %}` marks what an assistant says, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _ends_with(rendered: str, mark: str) -> bool:
    return rendered.rstrip().endswith(mark)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own writes HTML's entities.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return dt.datetime.now().astimezone().strftime(form)
