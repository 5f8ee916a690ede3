"""A real Claude Code works with the fake model, and sends what claude_code_requests says that it sends.

Set TURBOV2_CLAUDE to its executable, as installed by npm: node_modules/.bin/claude.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support import claude_code_requests as requests
from tests.support.chats import AGENT, DEADLY, SLOW
from tests.support.claude_code import ClaudeCode
from tests.support.recorder import Recorder, Sent
from tests.support.server import RunningServer, fake_model, leases, metric, until

CLAUDE = os.environ.get("TURBOV2_CLAUDE", "")
pytestmark = [
    pytest.mark.skipif(not CLAUDE, reason="needs Claude Code: set TURBOV2_CLAUDE to its executable"),
    pytest.mark.timeout(300),
]

SMALL = "small"  # reads 200 words
KEY = "a-key"
JSON = ("--output-format", "json")
N_TURNS = 30
OLDER = ("claude-sonnet-4-20250514", "claude-haiku-4-5")


def bash(command: str) -> str:
    return f"CALL Bash {json.dumps({'command': command, 'description': 'x'})}"


def script(*turns: str) -> str:
    return "\nTHEN\n".join(turns)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    writer: dict[str, Any] = {"capability": "vision", "is_writer": True, "calls_tools": True}
    tables = [
        fake_model(AGENT, folder, runner="thread", thinks=True, keeps_prefix=True, **writer),
        fake_model(SMALL, folder, runner="thread", max_tokens=200, **writer),
        fake_model(SLOW, folder, runner="process", delay_s_per_token=0.05, **writer),
        fake_model(DEADLY, folder, runner="process", crash_on="CRASH", fail_on="FAIL", **writer),
    ]
    models = "\n".join(table.replace("dimensions = 8\n", "") for table in tables)
    env = {"TURBOV2_MODEL_ALIASES": f"claude-sonnet-4-6={AGENT},claude-*={AGENT}"}
    with RunningServer(folder, models=models, env=env) as running:
        yield running


@pytest.fixture
def recorder(server: RunningServer) -> Iterator[Recorder]:
    with Recorder(server.port) as recording:
        yield recording


@pytest.fixture
def claude(recorder: Recorder, tmp_path: Path) -> ClaudeCode:
    return ClaudeCode(CLAUDE, tmp_path, recorder.base_url, AGENT)


def bodies(recorder: Recorder) -> list[dict[str, Any]]:
    return [json.loads(sent.body) for sent in recorder.requests() if sent.path.startswith("/v1/messages")]


class TestWork:
    def test_an_answer(self, claude: ClaudeCode, recorder: Recorder) -> None:
        ran = claude.ask("SAY hello there")
        assert (ran.code, ran.out) == (0, "hello there\n")
        assert [sent.path for sent in recorder.requests()] == ["/v1/messages?beta=true"]

    def test_a_command_is_run(self, claude: ClaudeCode, server: RunningServer) -> None:
        prompt = script(bash("echo made > it.txt"), "SAY done")
        n_before = metric(server, "turbov2_input_tokens_total", model=AGENT)
        told = claude.ask(prompt, "--allowedTools", "Bash", *JSON).result()
        assert (claude.work / "it.txt").read_text() == "made\n"
        assert (told["result"], told["num_turns"], told["is_error"]) == ("done", 2, False)
        usage = told["modelUsage"][AGENT]
        n_read = usage["inputTokens"] + usage["cacheReadInputTokens"]
        assert metric(server, "turbov2_input_tokens_total", model=AGENT) - n_before == n_read > 0

    def test_what_is_not_allowed_is_not_run(self, claude: ClaudeCode, recorder: Recorder) -> None:
        prompt = script(bash("touch it.txt"), "SAY done")
        told = claude.ask(prompt, *JSON).result()
        assert [each["tool_name"] for each in told["permission_denials"]] == ["Bash"]
        assert not (claude.work / "it.txt").exists()
        assert bodies(recorder)[-1]["messages"][-1]["content"][0]["is_error"] is True

    def test_two_calls_at_a_time(self, claude: ClaudeCode, recorder: Recorder) -> None:
        prompt = script(f"{bash('echo a > a.txt')}\n{bash('echo b > b.txt')}", "SAY done")
        told = claude.ask(prompt, "--allowedTools", "Bash", *JSON).result()
        assert told["result"] == "done"
        assert sorted(path.name for path in claude.work.iterdir()) == ["a.txt", "b.txt"]
        last = bodies(recorder)[-1]["messages"][-1]["content"]
        assert [block["type"] for block in last] == ["tool_result"] * 2

    def test_a_file_is_changed(self, claude: ClaudeCode) -> None:
        path = claude.work / "a.txt"
        path.write_text("one two\n")
        edit = {"file_path": str(path), "old_string": "two", "new_string": "three"}
        reads, edits = f"CALL Read {json.dumps({'file_path': str(path)})}", f"CALL Edit {json.dumps(edit)}"
        claude.ask(script(reads, edits, "SAY done"), "--allowedTools", "Read,Edit")
        assert path.read_text() == "one three\n"

    def test_a_picture_is_seen(self, claude: ClaudeCode) -> None:
        path = claude.work / "picture.png"
        path.write_bytes(chats.png(60, 20))
        ran = claude.ask(script(f"CALL Read {json.dumps({'file_path': str(path)})}", ""))
        assert ran.out.rstrip().endswith("What Read showed: 60x20")

    def test_a_schema(self, claude: ClaudeCode) -> None:
        """It asks by a tool of its own, which the model has to call."""
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        prompt = script('CALL StructuredOutput {"n": 7}', "SAY done")
        told = claude.ask(prompt, "--json-schema", json.dumps(schema), *JSON).result()
        assert told["structured_output"] == {"n": 7}


def test_thirty_turns(claude: ClaudeCode, recorder: Recorder) -> None:
    """Each with a command; what was read in one is not read again in the next."""
    with claude.session("--allowedTools", "Bash") as session:
        told = [session.say(script(bash(f"echo {turn} >> log.txt"), "SAY ok")) for turn in range(N_TURNS)]
    assert [each["result"] for each in told] == ["ok"] * N_TURNS
    assert (claude.work / "log.txt").read_text().split() == [str(turn) for turn in range(N_TURNS)]
    assert len(bodies(recorder)) == 2 * N_TURNS
    usage = told[-1]["usage"]
    assert usage["cache_read_input_tokens"] > 20 * usage["input_tokens"]


class TestBeside:
    def test_context(self, claude: ClaudeCode, recorder: Recorder, server: RunningServer) -> None:
        """What takes how much room is counted in many requests at once, and no answer is written."""
        ran = claude.ask("/context", CLAUDE_CODE_SIMPLE="")
        assert ran.code == 0
        assert AGENT in ran.out
        paths = [sent.path for sent in recorder.requests()]
        assert len(paths) >= 5
        assert set(paths) == {"/v1/messages/count_tokens?beta=true"}
        assert "/v1/messages/count_tokens' 4" not in server.log()

    def test_a_session_in_a_terminal_gets_its_title(self, claude: ClaudeCode, recorder: Recorder) -> None:
        claude.typed("SAY hello world", "● hello world", " word")
        title = next(body for body in bodies(recorder) if not body["tools"])
        assert requests.shape(title) <= requests.shape(requests.title(AGENT, ""))

    def test_models_are_found(self, claude: ClaudeCode, recorder: Recorder) -> None:
        discovery = {"CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1", "CLAUDE_CODE_SIMPLE": ""}
        env = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "", "DISABLE_TELEMETRY": "1"}
        ran = claude.ask(
            "SAY hello", **discovery, **env, DISABLE_AUTOUPDATER="1", DISABLE_ERROR_REPORTING="1"
        )
        assert ran.out == "hello\n"
        assert "/v1/models?limit=1000" in [sent.path for sent in recorder.requests()]

    def test_the_first_knock(self, claude: ClaudeCode, recorder: Recorder) -> None:
        """It is only made where there is no proxy."""
        claude.ask("SAY hello", HTTPS_PROXY="", HTTP_PROXY="")
        assert any(sent.head.startswith(b"HEAD / ") for sent in recorder.requests())

    @pytest.mark.parametrize("name", ["claude-sonnet-4-6", *OLDER, "claude-unheard-of", "opus", "haiku"])
    def test_names_that_stand_for_a_model(self, claude: ClaudeCode, name: str) -> None:
        told = claude.ask("SAY hello", "--model", name, *JSON).result()
        assert (told["result"], told["is_error"]) == ("hello", False)

    def test_a_search_of_the_web_finds_nothing(self, claude: ClaudeCode, recorder: Recorder) -> None:
        """It asks for a tool that its maker's servers run, and takes an answer without one."""
        prompt = script('CALL WebSearch {"query": "cats"}', "SAY done")
        ran = claude.ask(prompt, "--allowedTools", "WebSearch", CLAUDE_CODE_SIMPLE="")
        assert (ran.code, ran.out) == (0, "done\n")
        kinds = [tool.get("type", "") for body in bodies(recorder) for tool in body["tools"]]
        assert any(kind.startswith("web_search_") for kind in kinds)

    def test_nothing_else_is_called(self, claude: ClaudeCode) -> None:
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            elsewhere.settimeout(0)
            proxy = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
            assert claude.ask("SAY hello", HTTPS_PROXY=proxy, HTTP_PROXY=proxy).out == "hello\n"
            with pytest.raises(BlockingIOError):
                elsewhere.accept()


class TestTrouble:
    @pytest.mark.parametrize(
        ("variable", "key", "is_let_in"),
        [
            ("ANTHROPIC_AUTH_TOKEN", KEY, True),
            ("ANTHROPIC_API_KEY", KEY, True),
            ("ANTHROPIC_AUTH_TOKEN", "other", False),
        ],
    )
    def test_keys(self, tmp_path: Path, variable: str, key: str, *, is_let_in: bool) -> None:
        model = fake_model(AGENT, tmp_path, runner="thread", capability="generate", is_writer=True)
        models = model.replace("dimensions = 8\n", "")
        with RunningServer(tmp_path, models=models, env={"EMBEDDINGS_API_KEY": KEY}) as server:
            claude = ClaudeCode(CLAUDE, tmp_path / "claude", server.base_url, AGENT)
            ran = claude.ask("SAY hello", **{"ANTHROPIC_AUTH_TOKEN": "", variable: key})
            assert ran.code == (0 if is_let_in else 1)
            assert ("hello\n" if is_let_in else "401 invalid API key") in ran.out

    def test_a_server_that_is_busy_is_waited_for(self, tmp_path: Path) -> None:
        """The title that a session asks for beside its first answer meets this, too."""
        table = fake_model(AGENT, tmp_path, capability="generate", is_writer=True, delay_s_per_token=0.05)
        models = table.replace("dimensions = 8\n", "").replace('"inline"', '"process"')
        messages = [{"role": "user", "content": "w " * 5000}]
        body = {"model": AGENT, "max_tokens": 5000, "messages": messages, "stream": True}
        with RunningServer(tmp_path, models=models, env={"TURBOV2_MAX_QUEUE": "1"}) as server:
            claude = ClaudeCode(CLAUDE, tmp_path / "claude", server.base_url, AGENT)
            with server.http.stream("POST", "/v1/messages", json=body) as busy:
                pieces = busy.iter_bytes()
                next(pieces)
                waiting = claude.started("SAY done")
                until(lambda: "'/v1/messages' 429" in server.log())
            out, _ = waiting.communicate(timeout=60)
            assert (waiting.returncode, out) == (0, "done\n")

    def test_a_client_that_leaves_stops_the_model(self, claude: ClaudeCode, server: RunningServer) -> None:
        leaving = claude.started(f"SAY {'w ' * 1000}", "--model", SLOW)
        until(lambda: leases(server, SLOW) == 1)
        leaving.send_signal(signal.SIGINT)
        until(lambda: leases(server, SLOW) == 0, deadline_s=5)
        leaving.communicate(timeout=60)

    def test_a_model_that_dies_midway_is_asked_again(self, claude: ClaudeCode, recorder: Recorder) -> None:
        """First without a stream, then as often as it may; each time it is there again."""
        ran = claude.ask("SAY one CRASH two", "--model", DEADLY)
        assert ran.code == 1
        assert "the process that ran model 'deadly-eyes' ended" in ran.out
        assert [body.get("stream", False) for body in bodies(recorder)] == [True, False, False, False]
        assert claude.ask("SAY one two", "--model", DEADLY).out == "one two\n"

    def test_what_would_fail_again_is_not_tried_again(self, claude: ClaudeCode, recorder: Recorder) -> None:
        ran = claude.ask("SAY one FAIL two", "--model", DEADLY)
        assert ran.code == 1
        assert "was told to fail on" in ran.out
        assert len(bodies(recorder)) == 2

    def test_a_model_that_is_not_there(self, claude: ClaudeCode) -> None:
        ran = claude.ask("SAY hello", "--model", "absent")
        assert ran.code == 1
        assert "absent" in ran.out

    def test_a_prompt_that_is_too_long(self, claude: ClaudeCode, recorder: Recorder) -> None:
        """It knows the words, and does not send the same again."""
        ran = claude.ask("w " * 300, "--model", SMALL)
        assert ran.code == 1
        assert "rompt is too long" in ran.out
        assert len(bodies(recorder)) <= 2


def test_more_pictures_than_a_conversation_may_have(tmp_path: Path) -> None:
    """It makes the conversation shorter, as it does where words are too many, and goes on."""
    writer: dict[str, Any] = {"capability": "vision", "is_writer": True, "calls_tools": True}
    models = fake_model(AGENT, tmp_path, runner="thread", **writer).replace("dimensions = 8\n", "")
    with RunningServer(tmp_path, models=models, env={"TURBOV2_MAX_IMAGES": "4"}) as server:
        claude = ClaudeCode(CLAUDE, tmp_path / "claude", server.base_url, AGENT)
        (claude.work / "picture.png").write_bytes(chats.png())
        reads = f"CALL Read {json.dumps({'file_path': str(claude.work / 'picture.png')})}"
        ran = claude.ask(script(*[reads] * 6, "SAY done"))
        until(lambda: "'/v1/messages' 400" in server.log())
        assert ran.code == 0
        assert "This session is being continued" in ran.out


@pytest.fixture
def everyday(claude: ClaudeCode, recorder: Recorder) -> list[Sent]:
    """Returns what it sends with all its tools and instructions, for a new name and an older one."""
    prompt = script(f"{bash('echo a')}\n{bash('echo b')}", "SAY done")
    for name in (AGENT, *OLDER):
        claude.ask(prompt, "--allowedTools", "Bash", "--model", name, CLAUDE_CODE_SIMPLE="")
    return recorder.requests()


def test_it_sends_nothing_that_the_contract_lacks(everyday: list[Sent]) -> None:
    """So what tests/contract/anthropic/test_claude_code_requests.py sends is what Claude Code sends."""
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    answer = [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "text", "text": "t"},
        call,
        call,
    ]
    kinds = (requests.turn(AGENT), requests.turn_of_an_older_model(AGENT), requests.results(AGENT, answer))
    known = set().union(*map(requests.shape, kinds))
    sent = [json.loads(each.body) for each in everyday if each.path.startswith("/v1/messages?")]
    assert len(sent) == 6
    assert set().union(*map(requests.shape, sent)) <= known
    for each in everyday:
        assert each.header("anthropic-version") == requests.HEADERS["anthropic-version"]
        assert requests.HEADERS["anthropic-beta"].split(",")[1] in each.header("anthropic-beta")
