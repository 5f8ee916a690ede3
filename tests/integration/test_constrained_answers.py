"""A model of random weights, which says nothing but noise, answers as it is held to: its tools, a schema."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp", reason="runs a model: needs the extra gguf")
pytest.importorskip("gguf", reason="makes models: needs gguf")

from tests.support import chat_templates, tiny_gguf
from tests.support.words import Words
from turbov2.backends.llama_cpp import LlamaCppBackend
from turbov2.backends.schemas import MAX_SCHEMA_BYTES
from turbov2.errors import InvalidRequest
from turbov2.types import (
    Finish,
    GenerateTask,
    LoadSpec,
    PromptMessage,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)

pytestmark = pytest.mark.timeout(60)

WEATHER = Tool(
    "weather",
    "How it will be.",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        }
    ),
)
CLOCK = Tool("clock", "", json.dumps({"type": "object", "properties": {}, "additionalProperties": False}))
CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
HOT = Sampling(max_tokens=200, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=3)


@contextlib.contextmanager
def opened(folder: Path, template: str) -> Iterator[LlamaCppBackend]:
    path = tiny_gguf.save_gguf(folder, template=template, n_context=2048)
    files = {path.name: str(path)}
    spec = LoadSpec("tiny", "llama_cpp", files, "", options={"n_threads": 1, "n_slots": 1})
    with contextlib.closing(LlamaCppBackend(spec)) as backend:
        yield backend


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppBackend]:
    with opened(tmp_path_factory.mktemp("caller"), chat_templates.TAGS) as backend:
        yield backend


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppBackend]:
    with opened(tmp_path_factory.mktemp("plain"), tiny_gguf.CHATML) as backend:
        yield backend


def asked(sampling: Sampling = HOT, **fields: Any) -> GenerateTask:
    return GenerateTask((PromptMessage("user", (TextPart("go"),)),), sampling, **fields)


def write(backend: LlamaCppBackend, task: GenerateTask) -> tuple[str, Finish]:
    pieces = Words()
    finish = backend.generate(task, (), pieces.take, lambda: False)
    return "".join(pieces), finish


def check(call: dict[str, Any]) -> None:
    assert list(call) == ["name", "arguments"]
    if call["name"] == "weather":
        assert call["arguments"]["city"] in ("Paris", "Rome")
        assert 1 <= call["arguments"]["days"] <= 9
        assert len(call["arguments"]) == 2
    else:
        assert call == {"name": "clock", "arguments": {}}


@pytest.mark.parametrize("seed", range(5))
def test_a_call_that_is_demanded_is_always_a_valid_one(caller: LlamaCppBackend, seed: int) -> None:
    sampling = Sampling(max_tokens=300, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
    for choice in (ToolChoice("required"), ToolChoice("required", is_parallel=False)):
        text, finish = write(caller, asked(sampling, tools=(WEATHER, CLOCK), choice=choice))
        calls = CALL.findall(text)
        assert calls or finish.reason == "length"
        assert len(calls) == 1 or choice.is_parallel
        for call in calls:
            check(json.loads(call))
        if finish.reason == "stop":
            assert CALL.sub("", text).strip() == ""
    text, _ = write(caller, asked(sampling, tools=(WEATHER, CLOCK), choice=ToolChoice("required", "clock")))
    assert {json.loads(call)["name"] for call in CALL.findall(text)} == {"clock"}


def test_a_model_without_marks_for_calls_writes_bare_json(plain: LlamaCppBackend) -> None:
    choice = ToolChoice("required", "weather", is_parallel=False)
    text, finish = write(plain, asked(tools=(WEATHER,), choice=choice))
    assert finish.reason == "stop"
    check(json.loads(text))


def test_marks_that_are_control_tokens_are_told(tmp_path: Path) -> None:
    begin, end = tiny_gguf.CALL_MARKS
    template = tiny_gguf.CHATML + f"{{% if tools %}}{begin}{{{{ tools | tojson }}}}{end}{{% endif %}}"
    choice = ToolChoice("required", is_parallel=False)
    with opened(tmp_path, template) as backend:
        text, _ = write(backend, asked(tools=(WEATHER, CLOCK), choice=choice))
        assert text.startswith(begin)
        assert text.endswith(end)
        check(json.loads(text.removeprefix(begin).removesuffix(end)))
        words, _ = write(backend, asked(tools=(WEATHER, CLOCK)))  # where no call is begun
        assert len(words) > 20


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
        {"enum": ["x", 3, None]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "string", "pattern": "^[ab]{3}$"}}},
    ],
)
def test_an_answer_matches_its_schema(caller: LlamaCppBackend, schema: dict[str, Any]) -> None:
    text, finish = write(caller, asked(schema=json.dumps(schema)))
    if finish.reason == "length":
        assert schema == {}
        assert text.startswith("{")
        return
    value = json.loads(text)
    if schema == {}:
        assert isinstance(value, dict)
    elif "enum" in schema:
        assert value in schema["enum"]
    elif "$ref" in schema:
        assert re.fullmatch("[ab]{3}", value)
    elif schema["type"] == "array":
        assert len(value) == 2
    else:
        assert isinstance(value["a"], bool)


def test_a_schema_binds_behind_the_thoughts(tmp_path: Path) -> None:
    schema = json.dumps({"enum": ["yes", "no"]})
    with opened(tmp_path, chat_templates.OPENED) as backend:
        text, finish = write(backend, asked(Sampling(max_tokens=400, temperature=0.0), schema=schema))
        assert text.startswith("<think>\n")
        if finish.reason == "stop":
            assert json.loads(text.partition("</think>")[2]) in ("yes", "no")
    with opened(tmp_path, chat_templates.THOUGHTS) as backend:
        text, _ = write(backend, asked(schema=schema, thinks=False))
        assert json.loads(text) in ("yes", "no")


HOSTILE = {
    "nested": json.dumps({}).replace("{}", '{"items":' * 50_000 + "{}" + "}" * 50_000),
    "long": json.dumps({"description": "a" * MAX_SCHEMA_BYTES}),
    "no object": "[]",
    "no JSON": "{",
    "elsewhere": json.dumps({"$ref": "http://example.com/a.json"}),
    "a file": json.dumps({"$ref": "file:///etc/passwd"}),
    "looks ahead": json.dumps({"type": "string", "pattern": "^(?=a)b"}),
    "impossible": json.dumps({"type": "integer", "minimum": 3, "maximum": 2}),
    "endless": json.dumps({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}),
    "all of all": json.dumps({"allOf": [{"anyOf": [{"minimum": n}, {"maximum": n}]} for n in range(40)]}),
}


def test_a_format_that_no_grammar_knows_is_a_remark(caller: LlamaCppBackend) -> None:
    url = {"type": "string", "format": "uri", "maxLength": 5}
    const = {"const": {"format": "uri"}}
    schema = {"type": "object", "properties": {"format": url, "c": const}, "required": ["format", "c"]}
    text, _ = write(caller, asked(schema=json.dumps(schema | {"additionalProperties": False})))
    assert json.loads(text)["c"] == {"format": "uri"}
    assert len(json.loads(text)["format"]) <= 5


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_grammar_can_be_made_of_is_refused_soon(caller: LlamaCppBackend, name: str) -> None:
    began_s = time.perf_counter()
    with pytest.raises(InvalidRequest, match="^answers cannot be held to this JSON schema: .") as refused:
        write(caller, asked(schema=HOSTILE[name]))
    assert time.perf_counter() - began_s < 5
    assert len(refused.value.message) < 400
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "pattern",
    ["^(.*a.{500}b){50}$", "^((((a{1,99}){1,99}){1,99}){1,99}){1,99}$", "^(a|aa|aaa)*(a|b)*c{900}$"],
)
def test_an_answer_to_a_costly_pattern_takes_no_longer(caller: LlamaCppBackend, pattern: str) -> None:
    began_s = time.perf_counter()
    schema = json.dumps({"type": "string", "pattern": pattern})
    assert write(caller, asked(schema=schema))[1].n_output_tokens > 1
    assert time.perf_counter() - began_s < 5


def test_a_tools_schema_that_cannot_be_held_to(caller: LlamaCppBackend) -> None:
    """Where a call may be made it binds the name alone; where it must be made the client is told."""
    odd = Tool("odd", "", HOSTILE["looks ahead"])
    assert write(caller, asked(Sampling(max_tokens=5), tools=(odd,)))[1].n_output_tokens == 5
    with pytest.raises(InvalidRequest, match="look-around"):
        write(caller, asked(tools=(odd,), choice=ToolChoice("required")))
