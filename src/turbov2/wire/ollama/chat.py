"""POST /api/chat, POST /api/generate ↔ canonical requests and events. Pure but for the time of a line."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from turbov2.errors import InvalidRequest, NotCapable, TurboError
from turbov2.types import AnswerDelta, ChatRequest, ChatResult, Part, Role, Sampling, TextDelta
from turbov2.wire._body import parse_json
from turbov2.wire._chat import Answer
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import NDJSON, Limits
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._lines import json_line
from turbov2.wire._media import unpack_file
from turbov2.wire._sampling import MAX_TOKENS, parse_seed, parse_stops, within
from turbov2.wire.ollama.schema import ChatBody, ChatMessage, GenerateBody, Number, Options, WritingBody

Verb = Literal["chat", "generate"]

_CHAT = msgspec.json.Decoder(ChatBody)
_GENERATE = msgspec.json.Decoder(GenerateBody)
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
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
    """Returns what POST /api/chat is asked for. Raises: InvalidRequest, NotCapable."""
    asked = parse_json(body, _CHAT)
    if not asked.model:
        raise InvalidRequest("model is required", param="model")
    conversation = Conversation(limits)
    for index, message in enumerate(asked.messages or ()):
        _say(conversation, message, asked.model, f"messages[{index}]")
    return _asked("chat", asked, conversation if asked.messages else None)


def parse_generate(body: bytes, limits: Limits) -> AskedText:
    """Returns what POST /api/generate is asked for. Raises: InvalidRequest, NotCapable."""
    asked = parse_json(body, _GENERATE)
    conversation = None
    if asked.prompt:
        _check_prompt(asked)
        conversation = Conversation(limits)
        if asked.system:
            conversation.say("system", [conversation.text(asked.system, "system")], "system")
        images = _images(conversation, asked.images, "images")
        conversation.say("user", [*images, conversation.text(asked.prompt, "prompt")], "prompt")
    return _asked("generate", asked, conversation, asked.prompt or "")


def render_text(asked: AskedText, answer: Answer) -> bytes:
    """Returns the whole answer as one object."""
    return msgspec.json.encode(_line(asked, answer.text) | _last(answer.result))


def render_done(asked: AskedText, reason: str, text: str = "") -> bytes:
    """Returns the one object that answers a request which loads, unloads or judges."""
    return msgspec.json.encode(_line(asked, text) | {"done": True, "done_reason": reason})


class Lines:
    """The answer as lines of JSON."""

    media_type = NDJSON
    heartbeat = b""

    def __init__(self, asked: AskedText) -> None:
        self._asked = asked

    def head(self) -> bytes:
        """Returns nothing: the first piece comes first."""
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the line of the next words."""
        return json_line(_line(self._asked, delta.text)) if isinstance(delta, TextDelta) else b""

    def end(self, result: ChatResult) -> bytes:
        """Returns the last line, with what was counted and measured."""
        return json_line(_line(self._asked, "") | _last(result))

    def error(self, error: TurboError) -> bytes:
        """Returns the line that clients raise."""
        return json_line({"error": error.message})


def _line(asked: AskedText, text: str) -> dict[str, Any]:
    is_chat = asked.verb == "chat"
    told = {"message": {"role": "assistant", "content": text}} if is_chat else {"response": text}
    return {"model": asked.model, "created_at": dt.datetime.now(dt.UTC), **told, "done": False}


def _last(result: ChatResult) -> dict[str, Any]:
    """Returns the fields of the last line; as with Ollama's server, a number that is 0 is left out."""
    finish = result.finish
    numbers = {
        "total_duration": result.total_ns,
        "load_duration": result.load_ns,
        "prompt_eval_count": finish.n_prompt_tokens,
        "prompt_eval_duration": finish.prompt_ns,
        "eval_count": finish.n_output_tokens,
        "eval_duration": finish.output_ns,
    }
    reason = "length" if finish.reason == "length" else "stop"
    return {"done": True, "done_reason": reason} | {name: n for name, n in numbers.items() if n}


def _asked(verb: Verb, body: WritingBody, conversation: Conversation | None, prompt: str = "") -> AskedText:
    model, keep_alive_s = body.model or "", parse_keep_alive_s(body.keep_alive)
    request = None
    if conversation is not None:
        _check_supported(body, model)
        request = conversation.request(model, _sampling(body.options or Options()), keep_alive_s)
    return AskedText(verb, model, request, body.stream is not False, keep_alive_s, prompt)


def _check_supported(body: WritingBody, model: str) -> None:
    if body.think:
        raise NotCapable(f'"{model}" does not support thinking', param="think")
    if body.tools:
        raise NotCapable(f'"{model}" does not support tools: they cannot be called yet', param="tools")
    if body.format:
        raise InvalidRequest(
            "format is not supported yet: answers are plain text; leave it out", param="format"
        )
    if body.logprobs:
        raise InvalidRequest("logprobs are not told: leave it out", param="logprobs")


def _check_prompt(body: GenerateBody) -> None:
    if body.suffix:
        raise NotCapable(f'"{body.model}" does not support insert', param="suffix")
    for name, has_it, instead in (
        ("raw", body.raw, "prompts go through the model's own template"),
        ("template", body.template, "prompts go through the model's own template"),
        ("context", body.context, "send the turns to /api/chat"),
    ):
        if has_it:
            raise InvalidRequest(f"{name} is not supported: {instead}; leave it out", param=name)


def _say(conversation: Conversation, message: ChatMessage, model: str, name: str) -> None:
    said = message.role.lower()
    if said == "tool" or message.tool_calls:
        raise NotCapable(f'"{model}" does not support tools: they cannot be called yet', param=name)
    role = _ROLES.get(said)
    if role is None:
        known = ", ".join(_ROLES)
        raise InvalidRequest(f"{name}.role is '{message.role[:40]}', expected {known}", param=f"{name}.role")
    images = _images(conversation, message.images, f"{name}.images")
    text = conversation.text(message.content or "", f"{name}.content")
    conversation.say(role, [*images, text], name)


def _images(conversation: Conversation, images: list[str] | None, name: str) -> list[Part]:
    """Returns the images, which Ollama puts in front of a turn's text."""
    names = [f"{name}[{index}]" for index in range(len(images or ()))]
    return [
        conversation.image(unpack_file(image, each), each)
        for image, each in zip(images or (), names, strict=True)
    ]


def _sampling(options: Options) -> Sampling:
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(options, name):
            raise InvalidRequest(
                f"options.{name} is not supported: no backend has it; send repeat_penalty", param=name
            )
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
        seed=parse_seed(seed) if seed is not None and seed >= 0 else None,
        stop=parse_stops(options.stop, "options.stop"),
    )


def _whole(value: Number | None, name: str) -> int | None:
    """Returns the whole number, which may come as 40.0. Raises: InvalidRequest for one without meaning."""
    number = within(value, f"options.{name}", -_ANY, _ANY)
    return None if number is None else int(number)
