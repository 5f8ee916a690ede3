"""Models that another server runs: what it is asked, and what its words mean. No connection."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from turbov2.catalog.catalog import Catalog, CatalogError
from turbov2.errors import InputTooLong, InvalidRequest, LoadFailed, RemoteBusy, RemoteFailed, RemoteTimedOut
from turbov2.runners.remote.chunks import ChunkReader
from turbov2.runners.remote.events import MAX_LINE_BYTES, EventReader
from turbov2.runners.remote.faults import Faults
from turbov2.runners.remote.options import RemoteOptions, parse_options
from turbov2.runners.remote.requests import generate_body, path_of
from turbov2.types import (
    GenerateTask,
    ImagePart,
    LoadSpec,
    PromptMessage,
    Sampling,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
)

KEY = "sk-the-key"
OPTIONS = RemoteOptions("http://there.example:8000/v1", "their-model")
WEATHER = Tool("weather", "Tells it.", '{"type":"object","properties":{"town":{"type":"string"}}}')


def faults():
    return Faults("ours", "THEIR_KEY", (KEY, "there.example"))


def said(role, text, **fields):
    return PromptMessage(role, (TextPart(text),), **fields)


def body_of(task, images=(), options=OPTIONS):
    return json.loads(generate_body(task, images, options))


def test_a_conversation_is_asked_in_openais_words():
    task = GenerateTask(
        (
            said("system", "Be brief."),
            said("user", "Weather in Ulm?"),
            PromptMessage(
                "assistant",
                (
                    ThinkingPart("hm"),
                    TextPart("Let me see."),
                    ToolCallPart("c1", "weather", '{"town":"Ulm"}'),
                ),
            ),
            said("tool", "rain", call_id="c1", name="weather"),
        ),
        Sampling(max_tokens=50, temperature=0, top_k=5, stop=("END",), seed=3),
        tools=(WEATHER,),
        choice=ToolChoice("required", "weather", is_parallel=False),
        schema='{"type":"object"}',
        thinks=False,
    )
    function = {"name": "weather", "description": "Tells it.", "parameters": json.loads(WEATHER.parameters)}
    assert body_of(task) == {
        "model": "their-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Ulm?"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"town":"Ulm"}'},
                    }
                ],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        ],
        "max_tokens": 50,
        "temperature": 0,
        "top_k": 5,
        "seed": 3,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}},
        },
        "reasoning_effort": "none",
    }


def test_a_plain_question_asks_for_nothing_that_only_some_servers_know():
    task = GenerateTask((said("user", "Hi"),), Sampling(max_tokens=5))
    assert set(body_of(task)) == {"model", "messages", "max_tokens", "stream", "stream_options"}
    named = RemoteOptions(
        OPTIONS.base_url, "m", max_tokens_field="max_completion_tokens", thinking_field="enable_thinking"
    )
    body = body_of(GenerateTask((said("user", "Hi"),), thinks=True), options=named)
    assert body["max_completion_tokens"] == 1024
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert "max_tokens" not in body


def test_a_raw_prompt_goes_to_completions():
    task = GenerateTask((said("user", "Once upon"),), is_raw=True)
    assert path_of(task) == "/completions"
    assert body_of(task)["prompt"] == "Once upon"
    assert "messages" not in body_of(task)


def test_images_go_as_they_are():
    pixels = np.random.default_rng(1).integers(0, 256, (7, 5, 3), np.uint8)
    task = GenerateTask((PromptMessage("user", (TextPart("What is it?"), ImagePart(0))),))
    text, image = body_of(task, [pixels])["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    file = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), pixels)


@given(st.lists(st.binary(max_size=6).filter(lambda b: b"\n" not in b and b"\r" not in b)), st.data())
def test_events_are_the_same_however_their_bytes_come(datas, data):
    sent = b": a comment\n\n" + b"".join(b"data: " + each + b"\r\n\r\n" for each in datas)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    reader = EventReader()
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert [each for piece in pieces for each in reader.read(piece)] == [each.strip() for each in datas]


def test_a_line_without_end_is_refused():
    reader = EventReader()
    piece = b"data: " + b"x" * 65_536
    for _ in range(MAX_LINE_BYTES // len(piece)):
        assert list(reader.read(piece)) == []
    with pytest.raises(RemoteFailed, match="without end"):
        list(reader.read(piece))


def read(*chunks, max_tokens=100):
    reader = ChunkReader(faults(), max_tokens)
    pieces = [piece for each in chunks for piece in reader.read(json.dumps(each).encode())]
    calls, finish = reader.end()
    return pieces + calls, finish


def choice(reason=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def call(index, name=None, arguments=""):
    return {"index": index, "id": "x", "function": {"name": name, "arguments": arguments}}


def test_an_answer_is_read_with_thoughts_calls_and_usage():
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    pieces, finish = read(
        choice(role="assistant", content=""),
        choice(reasoning_content="hm"),
        choice(reasoning=" so"),
        choice(content="Let me see."),
        choice(tool_calls=[call(0, "weather", '{"town":')]),
        choice(tool_calls=[call(1, "weather"), call(0, None, '"Ulm"}')]),
        choice("tool_calls", tool_calls=[call(1, None, "{}")]),
        {"choices": [], "usage": usage},
    )
    assert pieces == [
        ThinkingDelta("hm"),
        ThinkingDelta(" so"),
        TextDelta("Let me see."),
        ToolCallPart("", "weather", '{"town":"Ulm"}'),
        ToolCallPart("", "weather", "{}"),
    ]
    assert (finish.reason, finish.n_prompt_tokens, finish.n_output_tokens, finish.n_cached_tokens) == (
        "stop",
        9,
        4,
        6,
    )


@pytest.mark.parametrize(
    ("theirs", "ours"), [("stop", "stop"), ("length", "length"), ("content_filter", "stop"), ("odd", "stop")]
)
def test_reasons_are_ours(theirs, ours):
    assert read(choice(theirs, content="x"))[1].reason == ours


def test_a_stop_text_is_told_where_the_server_tells_it():
    told = {"choices": [{"index": 0, "text": "a", "finish_reason": "stop", "stop_reason": "END"}]}
    assert read(told)[1].stopped_by == "END"
    assert read({"choices": [{**told["choices"][0], "stop_reason": 151_645}]})[1].stopped_by is None


def test_a_call_that_the_limit_cut_is_none():
    pieces, _ = read(
        choice(tool_calls=[call(0, "a", "{}")]), choice("length", tool_calls=[call(1, "b", '{"t":')])
    )
    assert pieces == [ToolCallPart("", "a", "{}")]


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"choices": 5}',
        b'{"choices":[{"delta":{"content":7}}]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"choices":[{"delta":' + b'{"a":' * 50_000,
        b'{"usage":{"prompt_tokens":1e400}}',
    ],
)
def test_what_is_no_chunk_is_told(event):
    with pytest.raises(RemoteFailed, match="no chunk"):
        ChunkReader(faults(), 10).read(event)


def test_answers_are_bounded():
    with pytest.raises(RemoteFailed, match="far more"):
        read(*[choice(content="x" * 10_000)] * 8, max_tokens=10)
    with pytest.raises(RemoteFailed, match="far more"):
        read(*[choice(tool_calls=[call(0, "a", "x" * 10_000)])] * 8, max_tokens=10)
    with pytest.raises(RemoteFailed, match="calls"):
        read(*[choice(tool_calls=[call(index, "a")]) for index in range(200)], max_tokens=10)
    with pytest.raises(RemoteFailed, match="broke off"):
        read(choice(content="half"))
    assert read({**choice("stop"), "usage": {"prompt_tokens": -5}})[1].n_prompt_tokens == 0


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, RemoteFailed, "THEIR_KEY"),
        (403, RemoteFailed, "THEIR_KEY"),
        (404, RemoteFailed, "base_url"),
        (302, RemoteFailed, "base_url"),
        (408, RemoteTimedOut, "too long"),
        (504, RemoteTimedOut, "too long"),
        (429, RemoteBusy, "no more"),
        (503, RemoteBusy, "no more"),
        (500, RemoteFailed, "500"),
        (418, RemoteFailed, "418"),
    ],
)
def test_statuses_become_errors_of_ours(status, kind, told):
    error = faults().of_answer(status, {"retry-after": "7"}, json.dumps({"error": {"message": KEY}}).encode())
    assert type(error) is kind
    assert told in error.message
    assert "model 'ours'" in error.message
    assert KEY not in error.message
    if kind is RemoteBusy:
        assert error.retry_after_s == 7


def refusal(message, **fields):
    return faults().of_answer(400, {}, json.dumps({"error": {"message": message, **fields}}).encode())


def test_the_users_fault_is_passed_on_in_the_servers_words():
    error = refusal("temperature must be\n at most 2")
    assert isinstance(error, InvalidRequest)
    assert error.message.endswith("refuses the request: temperature must be at most 2")
    bare = faults().of_answer(422, {}, b'{"detail": "top_k is not known"}')
    assert bare.message.endswith("top_k is not known")


@pytest.mark.parametrize(
    "private",
    [
        f"key {KEY} is wrong",
        "see https://there.example/x",
        "no route to 10.0.0.3",
        "host inner-9:8080 failed",
        "ask there.example",
        "at /srv/models/x.py",
        "C:\\models\\x",
        "ValidationError: 1 error",
        "Bearer abc",
        "token 0123456789abcdef0123456789abcdef",
        "\x1b[31mred",
        "at 0x7f00",
    ],
)
def test_words_that_hold_more_are_not_passed_on(private):
    error = refusal(private)
    assert isinstance(error, InvalidRequest)
    assert error.message.endswith("nothing that may be passed on")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": 5}', b'{"error":{"message":{}}}', b"[" * 9999]
)
def test_a_refusal_of_any_shape_is_an_answer(body):
    assert isinstance(faults().of_answer(400, {}, body), InvalidRequest)


@pytest.mark.parametrize(
    ("message", "fields", "lengths"),
    [
        (
            "This model's maximum context length is 4096 tokens. However, you sent 5000 tokens.",
            {"code": "context_length_exceeded"},
            "5000 tokens > 4096",
        ),
        ("prompt is too long: 70 tokens > 64 maximum, tokens with its images", {}, "70 tokens > 64"),
        (
            "the request exceeds the available context size",
            {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512},
            "900 tokens > 512",
        ),
        ("request (900 tokens) exceeds the available context size (512 tokens)", {}, "900 tokens > 512"),
        ("Input is too long", {}, "more tokens than"),
    ],
)
def test_prompts_that_are_too_long_are_told_as_ours(message, fields, lengths):
    error = refusal(message, **fields)
    assert isinstance(error, InputTooLong)
    assert error.message.startswith(f"prompt is too long: {lengths}")


def options_of(**options):
    return parse_options(LoadSpec("ours", "remote_openai", {}, "", options=options))


def test_options_are_checked_and_never_shown():
    good = {"base_url": "https://[::1]:8000/v1", "model": "m"}
    assert options_of(**good).at_once == 64
    with pytest.raises(LoadFailed, match="no option 'modle'"):
        options_of(**good, modle="m")
    with pytest.raises(LoadFailed, match="lacks the option 'model'"):
        options_of(base_url="http://x")
    for url in ("http://me:secret@x/v1", "file:///secret", "x/v1", "http://x/v1?secret=1", "http://x/\n"):
        with pytest.raises(LoadFailed, match="option 'base_url'") as caught:
            options_of(base_url=url, model="m")
        assert "secret" not in str(caught.value)
    for name, value in (("retries", 99), ("timeout_s", 0), ("key_variable", "a b"), ("at_once", "5")):
        with pytest.raises(LoadFailed, match=f"option '{name}'"):
            options_of(**good, **{name: value})


def test_the_models_file_needs_no_runner_nor_weights_for_them(tmp_path):
    file = tmp_path / "models.toml"
    table = '[models."far"]\ncapability = "generate"\nbackend = "remote_openai"\n'
    file.write_text(table)
    spec = Catalog.load(file, {}).resolve("far")
    assert (spec.runner, spec.host_bytes) == ("remote", 0)
    file.write_text(table.replace("generate", "embed"))
    with pytest.raises(CatalogError, match="not for embed"):
        Catalog.load(file, {})
    file.write_text(table + 'runner = "thread"\n')
    with pytest.raises(CatalogError, match="go together"):
        Catalog.load(file, {})
