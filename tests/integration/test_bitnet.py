"""Models of the backend bitnet: prompts, answers, and a server of its own that nobody else can use.

A llama.cpp of ours plays bitnet.cpp's llama-server, with a small random model that both read. A real build
has not been tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("xllamacpp", reason="plays bitnet.cpp's server: needs the extra gguf")
pytest.importorskip("gguf", reason="makes models: needs gguf")

from tests.support import tiny_gguf
from tests.support.chat_templates import WORDS
from tests.support.llama_server import SLOW_S, build
from tests.support.server import RunningServer, until
from tests.support.words import Words
from turbov2.backends.bitnet.templates import template_of
from turbov2.backends.detokenizer import StopTexts
from turbov2.backends.llama_cpp import LlamaCppBackend
from turbov2.backends.llama_server.client import QUIET, Piece
from turbov2.backends.llama_server.writing import Writing
from turbov2.backends.templates import ChatTemplate
from turbov2.errors import InputTooLong, InvalidRequest, LoadFailed, RunnerCrashed
from turbov2.residency import MachineMemory
from turbov2.runners.process import ProcessRunner
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

QUESTION = "What is near the station? 機械学習は面白い。"
CODER = "qwen2.5-coder-7b"
WEATHER = Tool(
    "weather",
    "Of a town",
    '{"type":"object","properties":{"days":{"enum":[1,2]}},"required":["days"],"additionalProperties":false}',
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.save_gguf(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("bitnet"))


def load_spec(model: Path, program: Path, **options: Any) -> LoadSpec:
    options = {"path": str(program), "n_threads": 1, "n_slots": 2, **options}
    return LoadSpec("tiny", "bitnet", {model.name: str(model)}, "", options=options)


@contextlib.asynccontextmanager
async def started(model: Path, program: Path, mode: str = "", **kwargs: Any) -> AsyncIterator[ProcessRunner]:
    runner = ProcessRunner(environment={"STAND_IN": mode}, **kwargs)
    await runner.start(load_spec(model, program))
    try:
        yield runner
    finally:
        await runner.stop(5)


def ask(text: str = QUESTION, **sampling: Any) -> GenerateTask:
    fields = {"max_tokens": 20, "temperature": 0.0, **sampling}
    return GenerateTask((PromptMessage("user", (TextPart(text),)),), Sampling(**fields))


async def write(runner: ProcessRunner, task: GenerateTask) -> tuple[str, Finish]:
    pieces = Words()
    finish = await runner.generate(task, (), pieces.take)
    pieces.check(finish)
    return "".join(pieces), finish


def servers_of(pid: int) -> list[psutil.Process]:
    """Returns the tie and the server that a runner's process has started, in this order."""
    return psutil.Process(pid).children(recursive=True)


def port_of(pid: int) -> int:
    (listening,) = [c for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening.laddr.ip == "127.0.0.1"
    return int(listening.laddr.port)


# --- answers


async def test_answers_are_those_of_the_same_model_in_process(model: Path, program: Path) -> None:
    own = LlamaCppBackend(
        LoadSpec("tiny", "llama_cpp", {model.name: str(model)}, "", options={"n_threads": 1})
    )
    with contextlib.closing(own):
        async with started(model, program) as runner:
            for task in (ask(), ask("a<|im_end|>b"), ask(stop=("a",)), ask(max_tokens=5000)):
                pieces = Words()
                expected = own.generate(task, (), pieces.take, lambda: False)
                text, finish = await write(runner, task)
                assert text == "".join(pieces)
                for name in ("reason", "n_prompt_tokens", "n_output_tokens", "stopped_by"):
                    assert getattr(finish, name) == getattr(expected, name), name
                assert await runner.count(task, ()) == finish.n_prompt_tokens


async def test_two_answers_at_a_time_are_those_of_each_alone(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        tasks = [ask("one"), ask("and another question")]
        alone = [(await write(runner, task))[0] for task in tasks]
        together = await asyncio.gather(*(write(runner, task) for task in tasks))
        assert [text for text, _ in together] == alone


async def test_a_prompt_that_leaves_no_room_is_refused_with_its_length(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        with pytest.raises(InputTooLong, match=r"prompt is too long: \d+ tokens > 512 maximum"):
            await write(runner, ask("long " * 600))


async def test_demanded_calls_and_schemas_hold(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        call = GenerateTask(
            ask().messages, Sampling(max_tokens=400, seed=1), tools=(WEATHER,), choice=ToolChoice("required")
        )
        told = json.loads((await write(runner, call))[0])
        assert told["name"] == "weather"
        assert told["arguments"]["days"] in (1, 2)
        held = GenerateTask(ask().messages, Sampling(max_tokens=400), schema='{"enum": ["yes", "no"]}')
        assert json.loads((await write(runner, held))[0]) in ("yes", "no")
        with pytest.raises(InvalidRequest, match="JSON schema: it is no JSON object"):
            await write(runner, GenerateTask(ask().messages, schema="[1]"))
        assert (await write(runner, ask()))[1].n_output_tokens


async def test_a_cancel_ends_an_answer(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        begun = asyncio.Event()
        task = ask(max_tokens=400, temperature=1.0)
        writing = asyncio.create_task(
            runner.generate(task, (), lambda written: isinstance(written, str) and begun.set())
        )
        await begun.wait()
        writing.cancel()
        began_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert time.monotonic() - began_s < 2
        assert (await write(runner, ask()))[1].n_output_tokens
        assert runner.is_alive


def test_what_older_servers_tell_is_understood() -> None:
    pieces: list[str] = []
    writing = Writing("", StopTexts(()), pieces.append, lambda: False)
    told = [QUIET, Piece("a"), QUIET, Piece("b"), Piece(stop=True, stopped_limit=True)]
    assert [writing.take(piece) for piece in told] == [False] * 4 + [True]
    finish = writing.finish()
    assert ("".join(pieces), finish.reason, finish.n_output_tokens) == ("ab", "length", 2)
    gone = Writing("", StopTexts(()), pieces.append, lambda: True)
    assert gone.take(QUIET)
    assert gone.finish().reason == "cancelled"


# --- BitNet's own words

ENTRIES = {"general.architecture": "bitnet-b1.58", "tokenizer.chat_template": "not {{ this }} one"}


def test_bitnets_own_models_are_told_in_its_makers_words() -> None:
    messages = [
        {"role": "system", "content": " be brief "},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "and?"},
    ]
    told = template_of(ENTRIES).render(messages)
    assert told == (
        "<|begin_of_text|>System: be brief<|eot_id|>User: hi<|eot_id|>Assistant: ho<|eot_id|>User: and?"
        "<|eot_id|>Assistant: "
    )
    assert told == ChatTemplate(WORDS, "<|begin_of_text|>", "").render(messages)


def test_they_are_told_of_tools_as_well() -> None:
    function = {"name": "weather", "description": "", "parameters": {}}
    messages = [
        {"role": "user", "content": "rain?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": {}}}],
        },
        {"role": "tool", "content": "some"},
    ]
    told = template_of(ENTRIES).render(messages, [{"type": "function", "function": function}])
    assert json.dumps(function) in told
    assert '<|eot_id|>Assistant: {"name": "weather", "arguments": {}}<|eot_id|>User: some<|eot_id|>' in told
    assert template_of(ENTRIES).reply.has_tools


def test_models_of_other_makers_keep_their_files_template() -> None:
    entries = {"general.architecture": "llama", "tokenizer.chat_template": "{{ messages[0].content }}"}
    assert template_of(entries).render([{"role": "user", "content": "hi"}]) == "hi"


# --- the server


async def test_the_server_is_for_its_runner_alone(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        _, server = servers_of(runner.pid)
        url = f"http://127.0.0.1:{port_of(server.pid)}/completion"
        for headers in ({}, {"authorization": "Bearer guessed"}):
            async with httpx.AsyncClient() as client:
                answer = await client.post(url, json={"prompt": "x", "n_predict": 1}, headers=headers)
            assert answer.status_code == 401
        (file,) = [Path(each) for each in server.cmdline() if each.endswith("/key")]
        assert not file.exists()


async def test_a_server_that_lets_everybody_in_is_not_used(model: Path, program: Path) -> None:
    with pytest.raises(LoadFailed, match="answers without the key"):
        async with started(model, program, "open"):
            pass


async def test_a_server_that_does_not_start_says_how_it_ended(
    model: Path, program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "turbov2.runners.process")
    with pytest.raises(LoadFailed, match=r"llama-server ended \(exit code 1\) before it was ready"):
        async with started(model, program, "failing"):
            pass
    assert "no such instruction on this machine" in caplog.text


async def test_a_slow_start_is_awaited_as_long_as_a_load_may_take(model: Path, program: Path) -> None:
    async with started(model, program, "slow") as runner:
        assert (await write(runner, ask()))[1].n_output_tokens
    began_s = time.monotonic()
    with pytest.raises(LoadFailed, match="did not load in 0.5 s"):
        async with started(model, program, "slow", load_timeout_s=0.5):
            pass
    assert time.monotonic() - began_s < SLOW_S + 5


async def test_a_build_that_is_not_there_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="no llama-server where BITNET_PATH"):
        async with started(model, tmp_path):
            pass


async def test_its_memory_is_the_models(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        own = psutil.Process(runner.pid).memory_full_info().uss
        _, server = servers_of(runner.pid)
        taken = MachineMemory(10**9, 0, devices=()).process_bytes(runner.pid)["host"]
        assert taken > own + server.memory_full_info().uss * 0.9


@pytest.mark.parametrize("which", [0, 1], ids=["tie", "server"])
async def test_its_end_is_the_runners(model: Path, program: Path, which: int) -> None:
    reasons: list[str] = []
    async with started(model, program, on_exit=reasons.append) as runner:
        processes = servers_of(runner.pid)
        writing = asyncio.create_task(write(runner, ask(max_tokens=400, temperature=1.0)))
        await asyncio.sleep(0)
        os.kill(processes[which].pid, signal.SIGKILL)
        with contextlib.suppress(RunnerCrashed):  # unless the answer was quicker
            await writing
        until(lambda: not any(process.is_running() for process in processes))
        with pytest.raises(RunnerCrashed):
            await write(runner, ask())
    assert reasons == [f"ended (exit code {os.EX_SOFTWARE})"]


async def test_it_ends_with_the_runner(model: Path, program: Path) -> None:
    async with started(model, program) as runner:
        stopped = servers_of(runner.pid)
    assert not any(process.is_running() for process in stopped)
    async with started(model, program) as runner:
        killed = servers_of(runner.pid)
        os.kill(runner.pid, signal.SIGKILL)
        until(lambda: not any(process.is_running() for process in killed))


# --- the whole server


def test_llm_backend_bitnet_serves_the_default_chat_model(model: Path, program: Path, tmp_path: Path) -> None:
    env = {
        "LLM_BACKEND": "bitnet",
        "BITNET_PATH": str(program),
        "BITNET_MODEL_PATH": str(model),
        "BITNET_THREADS": "1",
        "TURBOV2_PRELOAD": "none",
    }
    body = {"model": CODER, "max_tokens": 8, "messages": [{"role": "user", "content": QUESTION}]}
    with RunningServer(tmp_path, env=env) as server:
        told = server.http.post("/v1/messages", json=body).json()
        assert told["model"] == "bitnet-2b"
        assert told["usage"]["output_tokens"] == 8
        (runner,) = [child for child in psutil.Process(server.pid).children() if servers_of(child.pid)]
        processes = [runner, *servers_of(runner.pid)]
        processes[-1].kill()
        until(lambda: not runner.is_running())
        until(lambda: server.http.post("/v1/messages", json=body).status_code == 200)
        processes = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not any(process.is_running() for process in processes))
