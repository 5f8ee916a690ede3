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

from turbov2.errors import LoadFailed
from turbov2.types import Role

Turn = tuple[Role, str]

_PROBE = "1f7e2c"


class ChatTemplate:
    """Makes one text of a conversation."""

    def __init__(self, source: str, bos_token: str, eos_token: str) -> None:
        """Raises: LoadFailed for a template that is none, or that does not write what a user says."""
        self.bos_token = bos_token
        self._eos_token = eos_token
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise LoadFailed("the GGUF file's chat template is not one that Jinja reads") from error
        self._wants_parts = False  # of a message, rather than its text
        if not self._writes_a_user():
            self._wants_parts = True
            if not self._writes_a_user():
                raise LoadFailed("the GGUF file's chat template leaves out what a user says")

    def render(self, turns: Sequence[Turn]) -> str:
        """Returns the prompt; an assistant's turn at the end is left open, to be gone on with.

        Raises: jinja2.TemplateError for a conversation that the template does not take.
        """
        role, beginning = turns[-1]
        if role == "assistant":
            turns = turns[:-1]
        messages = [{"role": each, "content": self._content(text)} for each, text in turns]
        rendered: str = self._template.render(
            messages=messages,
            add_generation_prompt=True,
            bos_token=self.bos_token,
            eos_token=self._eos_token,
            tools=None,
            documents=None,
        )
        return rendered + beginning if role == "assistant" else rendered

    def _content(self, text: str) -> str | list[dict[str, str]]:
        return [{"type": "text", "text": text}] if self._wants_parts else text

    def _writes_a_user(self) -> bool:
        try:
            rendered = self.render([("user", _PROBE)])
        except (jinja2.TemplateError, TypeError):
            return False
        return _PROBE in rendered and "'text'" not in rendered


class _Generation(Extension):
    """`{% generation %}` marks what an assistant says, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


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
