"""POST /api/chat, POST /api/generate → canonical requests. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from turbov2.errors import InvalidRequest, NotCapable
from turbov2.types import ChatRequest, Sampling, Tool, ToolChoice
from turbov2.wire._body import parse_json
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import Limits
from turbov2.wire._json_objects import object_text
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._sampling import MAX_TOKENS, parse_seed, parse_stops, within
from turbov2.wire._tools import check_tools, parse_tool
from turbov2.wire.ollama import schema
from turbov2.wire.ollama.schema import ChatBody, GenerateBody, Number, Options, WritingBody
from turbov2.wire.ollama.turns import Turns, images_of

Verb = Literal["chat", "generate"]

_CHAT = msgspec.json.Decoder(ChatBody)
_GENERATE = msgspec.json.Decoder(GenerateBody)
_ANY = 2.0**53  # a number of any size that JSON's clients mean as a whole one


class AskedText(msgspec.Struct, frozen=True):
    """What a request asks for. request: None where it only loads or unloads."""

    verb: Verb
    model: str  # as the request spells it
    request: ChatRequest | None
    is_streamed: bool
    keep_alive_s: float | None
    prompt: str = ""  # of generate


def parse_chat(body: bytes, limits: Limits) -> AskedText:
    """Returns what POST /api/chat is asked for. Raises: InvalidRequest."""
    asked = parse_json(body, _CHAT)
    if not asked.model:
        raise InvalidRequest("model is required", param="model")
    conversation = Conversation(limits)
    turns = Turns(conversation)
    for index, message in enumerate(asked.messages or ()):
        turns.say(message, f"messages[{index}]")
    return _asked("chat", asked, conversation if asked.messages else None, tools=_tools(asked.tools or []))


def parse_generate(body: bytes, limits: Limits) -> AskedText:
    """Returns what POST /api/generate is asked for. Raises: InvalidRequest, NotCapable."""
    asked = parse_json(body, _GENERATE)
    conversation = None
    if asked.prompt:
        _check_prompt(asked)
        conversation = Conversation(limits)
        if asked.system:
            conversation.say("system", [conversation.text(asked.system, "system")], "system")
        images = images_of(conversation, asked.images, "images")
        conversation.say("user", [*images, conversation.text(asked.prompt, "prompt")], "prompt")
    return _asked("generate", asked, conversation, asked.prompt or "", is_raw=bool(asked.raw))


def _asked(
    verb: Verb,
    body: WritingBody,
    conversation: Conversation | None,
    prompt: str = "",
    *,
    tools: tuple[Tool, ...] = (),
    is_raw: bool = False,
) -> AskedText:
    model, keep_alive_s = body.model or "", parse_keep_alive_s(body.keep_alive)
    request = None
    if conversation is not None:
        if body.logprobs:
            raise InvalidRequest("logprobs are not told: leave it out", param="logprobs")
        request = replace(
            conversation.request(model, _sampling(body.options or Options()), keep_alive_s),
            tools=tools,
            schema=_schema(body.format),
            thinks=None if body.think is None else bool(body.think),
            is_raw=is_raw,
        )
    return AskedText(verb, model, request, body.stream is not False, keep_alive_s, prompt)


def _tools(asked: list[schema.Tool]) -> tuple[Tool, ...]:
    functions = [(tool.function, f"tools[{index}]") for index, tool in enumerate(asked)]
    tools = tuple(
        parse_tool(function.name, function.description, function.parameters, where)
        for function, where in functions
    )
    check_tools(tools, ToolChoice())
    return tools


def _schema(format: object) -> str | None:
    """Returns the schema that the answer has to match. Raises: InvalidRequest."""
    if not format and format != {}:
        return None
    if isinstance(format, dict):
        return object_text(format, "format")
    if format != "json":
        raise InvalidRequest(
            f"format is '{str(format)[:40]}', expected 'json' or a JSON schema", param="format"
        )
    return "{}"


def _check_prompt(body: GenerateBody) -> None:
    if body.suffix:
        raise NotCapable(f'"{body.model}" does not support insert', param="suffix")
    for name, has_it, instead in (
        ("template", body.template, "prompts go through the model's own template, or with raw through none"),
        ("context", body.context, "send the turns to /api/chat"),
    ):
        if has_it:
            raise InvalidRequest(f"{name} is not supported: {instead}; leave it out", param=name)
    for name, is_there in (("system", bool(body.system)), ("images", bool(body.images))):
        if body.raw and is_there:
            raise InvalidRequest(f"raw takes a prompt alone, without {name}; leave it out", param=name)


def _sampling(options: Options) -> Sampling:
    n_predict = _whole(options.num_predict, "num_predict") or 0
    top_k = _whole(options.top_k, "top_k")
    seed = _whole(options.seed, "seed")
    return Sampling(
        max_tokens=min(n_predict, MAX_TOKENS) if n_predict > 0 else MAX_TOKENS,  # -1, -2, 0: no limit
        temperature=within(options.temperature, "options.temperature", 0, 2),
        top_k=None if top_k is None else max(top_k, 0),
        min_p=within(options.min_p, "options.min_p", 0, 1),
        top_p=within(options.top_p, "options.top_p", 0, 1),
        repetition_penalty=within(options.repeat_penalty, "options.repeat_penalty", 0.1, 10),
        presence_penalty=within(options.presence_penalty, "options.presence_penalty", -2, 2),
        frequency_penalty=within(options.frequency_penalty, "options.frequency_penalty", -2, 2),
        seed=parse_seed(seed) if seed is not None and seed >= 0 else None,
        stop=parse_stops(options.stop, "options.stop"),
    )


def _whole(value: Number | None, name: str) -> int | None:
    """Returns the whole number, which may come as 40.0. Raises: InvalidRequest for one without meaning."""
    number = within(value, f"options.{name}", -_ANY, _ANY)
    return None if number is None else int(number)
