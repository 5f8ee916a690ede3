"""What OpenAI's routes that write share: how to write, tools, schemas, and why an answer ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turbov2.errors import InvalidRequest
from turbov2.types import Finish, Sampling, Tool, ToolChoice
from turbov2.wire._json_objects import object_text
from turbov2.wire._sampling import parse_max_tokens, parse_seed, parse_stops, within
from turbov2.wire._tools import check_tools, parse_tool
from turbov2.wire.openai import schema
from turbov2.wire.openai.schema import WritingBody

_CHOICES = ("auto", "none", "required")
_UNTHINKING = ("none", "minimal")


def parse_sampling(asked: WritingBody, max_tokens: int | None, name: str = "max_tokens") -> Sampling:
    """Returns how the answer is to be written. name: of the field that `max_tokens` came in.

    Raises: InvalidRequest.
    """
    return Sampling(
        max_tokens=parse_max_tokens(max_tokens, name),
        temperature=within(asked.temperature, "temperature", 0, 2),
        top_k=None if asked.top_k is None else max(asked.top_k, 0),
        min_p=within(asked.min_p, "min_p", 0, 1),
        top_p=within(asked.top_p, "top_p", 0, 1),
        repetition_penalty=within(asked.repetition_penalty, "repetition_penalty", 0.1, 10),
        presence_penalty=within(asked.presence_penalty, "presence_penalty", -2, 2),
        frequency_penalty=within(asked.frequency_penalty, "frequency_penalty", -2, 2),
        seed=parse_seed(asked.seed),
        stop=parse_stops(asked.stop, "stop"),
    )


def parse_tools(
    functions: Sequence[tuple[str, schema.Function | None]], choice: object, is_parallel: bool | None
) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Returns the tools, given by type and function, and how they may be chosen. Raises: InvalidRequest."""
    tools = []
    for index, (kind, function) in enumerate(functions):
        where = f"tools[{index}]"
        if kind != "function" or function is None:
            raise InvalidRequest(f"{where} is of type '{kind[:40]}', expected a function", param=where)
        tools.append(parse_tool(function.name, function.description, function.parameters, where))
    chosen = _choice(choice, is_parallel is not False)
    check_tools(tools, chosen)
    return tuple(tools), chosen


def _choice(choice: object, is_parallel: bool) -> ToolChoice:
    if choice is None:
        return ToolChoice(is_parallel=is_parallel)
    if choice == "auto" or choice == "none" or choice == "required":
        return ToolChoice(choice, is_parallel=is_parallel)
    if isinstance(choice, dict) and choice.get("type") == "function":
        named = choice.get("function") or choice  # of /v1/responses the name stands beside the type
        name = named.get("name") if isinstance(named, dict) else None
        if isinstance(name, str) and name:
            return ToolChoice("required", name, is_parallel=False)
    raise InvalidRequest(
        f"tool_choice is {choice!r:.80}, expected {', '.join(_CHOICES)} or a function's name",
        param="tool_choice",
    )


def parse_format(kind: str, shape: dict[str, Any] | None, name: str) -> str | None:
    """Returns the schema that the answer has to match, None for any text. Raises: InvalidRequest."""
    if kind == "text":
        return None
    if kind == "json_object":
        return "{}"
    if kind != "json_schema":
        raise InvalidRequest(
            f"{name}.type is '{kind[:40]}', expected text, json_object or json_schema", param=name
        )
    return object_text(shape, f"{name}.schema")


def parse_effort(effort: str | None) -> bool | None:
    """Returns whether to think first; None: as the model does by itself. Effort has no degrees here."""
    return None if effort is None else effort not in _UNTHINKING


def refuse(refused: Sequence[tuple[str, bool, str]]) -> None:
    """Raises: InvalidRequest for the first field that is set and would change the answer."""
    for name, is_asked, why in refused:
        if is_asked:
            raise InvalidRequest(f"{name} is not supported: {why}; leave it out", param=name)


def finish_reason(finish: Finish) -> str:
    """Returns why the answer ended."""
    return finish.reason if finish.reason in ("length", "tool_calls") else "stop"


def usage_of(finish: Finish) -> dict[str, Any]:
    """Returns the tokens, with those among the prompt's that were not read again."""
    n_prompt, n_output = finish.n_prompt_tokens, finish.n_output_tokens
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_output,
        "total_tokens": n_prompt + n_output,
        "prompt_tokens_details": {"cached_tokens": finish.n_cached_tokens},
    }
