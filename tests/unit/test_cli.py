"""The command line in this process: help, tables, JSON, exit codes and errors in one line."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from turbov2.cli import _client, _probe, app
from turbov2.cli._boundary import CliError
from turbov2.cli.config import value_text
from turbov2.cli.ps import until_text
from turbov2.engine import shelf
from turbov2.settings import SETTINGS, load_settings

COMMANDS = ("serve", "embed", "read", "models", "show", "pull", "delete", "ps", "explain", "doctor", "config")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = ("TURBOV2_", "HF_MODEL_", "PORT", "HOST", "EMBEDDINGS_", "COLUMNS", "FORCE_COLOR")
    for name in [name for name in os.environ if name.startswith(ours)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TURBOV2_HOME", str(tmp_path / "home"))


def run(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, args, input=stdin, prog_name="turbov2")


# Help and usage


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"turbov2 {command}" in result.stdout
    assert command in run("--help").stdout


def test_version() -> None:
    assert run("--version").stdout.startswith("turbov2 0.")


@pytest.mark.parametrize("args", [("--nope",), ("nope",), ("pull",), ("pull", "a", "--starter"), ("show",)])
def test_wrong_usage_ends_with_2(args: tuple[str, ...]) -> None:
    assert run(*args).exit_code == 2


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['turbov2', '--help']\n"
        "from turbov2.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'uvicorn', 'starlette', 'asyncio', 'tokenizers', 'huggingface_hub'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


# Errors


def test_each_wrong_setting_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "many")
    monkeypatch.setenv("TURBOV2_HOMES", "x")
    result = run("config")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: TURBOV2_HOMES: no such setting; did you mean TURBOV2_HOME?",
        "error: PORT: 'many' is not a whole number from 0 to 65535",
    ]


def test_an_unknown_model_is_answered_with_close_names() -> None:
    for command in ("show", "pull"):
        result = run(command, "wordlama-256")
        assert result.exit_code == 1
        assert result.stderr == (
            "error: no model is called 'wordlama-256'\nhint:  did you mean wordllama-256d?\n"
        )


def test_a_broken_models_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "models.toml"
    broken.write_text("[models\n")
    monkeypatch.setenv("TURBOV2_MODELS_FILE", str(broken))
    result = run("models")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {broken} is not TOML")


def test_serve_refuses_to_preload_an_unknown_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOV2_PRELOAD", "nope")
    monkeypatch.setattr("turbov2.obs.logs.configure_logs", lambda level, log_format: None)
    result = run("serve", "--port", "0")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: TURBOV2_PRELOAD: no model is called 'nope'")


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shelf.Shelf, "pull", interrupt)
    result = run("pull", "minilm-384d")
    assert result.exit_code == 130
    assert "go on with: turbov2 pull minilm-384d" in result.stderr


def test_an_error_of_the_system_names_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", "/data")

    monkeypatch.setattr(shelf.Shelf, "pull", refuse)
    result = run("pull", "minilm-384d")
    assert result.exit_code == 1
    assert "error: Permission denied: /data" in result.stderr


# models, show, delete


def test_models_lists_what_can_run_one_line_each() -> None:
    result = run("models")
    assert result.exit_code == 0
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["NAME", "FOR", "SIZE", "STATE", "SOURCE", "ALIASES", "NOTE"]
    [default] = [line for line in lines if line.startswith("wordllama-256d")]
    assert default.split() == [
        "wordllama-256d", "embed", "18.2", "MB", "installed", "package:wordllama==0.4.0.post1", "wordllama",
    ]  # fmt: skip
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("columns", ["80", "200"])
def test_models_cuts_no_word_at_any_width(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    printed = run("models").stdout
    assert max(map(len, printed.splitlines())) <= int(columns)
    assert "…" not in printed
    words = set(printed.replace(",", " ").split())
    for model in json.loads(run("models", "--json").stdout)["models"]:
        if columns == "80":
            assert {model["name"], *model["aliases"]} <= words
        assert model["name"] in words


def test_models_as_json_says_why_not() -> None:
    shown = json.loads(run("models", "--runnable", "--json").stdout)["models"]
    known = {model["name"]: model for model in json.loads(run("models", "--json").stdout)["models"]}
    assert {model["name"] for model in shown} < set(known)
    assert all(
        model["reason"] and model["fix"] for model in known.values() if model["availability"] != "installed"
    )


def test_show_knows_aliases() -> None:
    assert json.loads(run("show", "wordllama", "--json").stdout)["name"] == "wordllama-256d"
    assert "summary" in run("show", "wordllama").stdout


def test_delete_asks_and_refuses() -> None:
    refused = run("delete", "wordllama", "--yes")
    assert refused.exit_code == 1
    assert "cannot be removed" in refused.stderr
    assert run("delete", "minilm-384d").stdout == "minilm-384d has no weights here\n"


# config


def test_config_names_every_setting_and_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOV2_KEEP_ALIVE", "90m")
    lines = {line.split()[0]: line.split() for line in run("config").stdout.splitlines()}
    assert {setting.variable for setting in SETTINGS} <= set(lines)
    assert lines["TURBOV2_KEEP_ALIVE"] == ["TURBOV2_KEEP_ALIVE", "1h30m", "environment"]
    assert lines["PORT"] == ["PORT", "11435", "default"]


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_config_hides_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "keys").write_text("from-a-file\n")
    monkeypatch.setenv("EMBEDDINGS_API_KEY", f"very-secret,@{tmp_path / 'keys'}")
    result = run("config", *flags)
    assert "set (2 keys)" in result.stdout
    assert "very-secret" not in result.output
    assert "from-a-file" not in result.output


@pytest.mark.parametrize(
    ("variable", "text", "shown"),
    [
        ("TURBOV2_KEEP_ALIVE", "-1s", "-1s"),
        ("TURBOV2_KEEP_ALIVE", "0", "0s"),
        ("TURBOV2_KEEP_ALIVE", "100ms", "0.1s"),
        ("TURBOV2_MAX_BODY", "5GB", "5GB"),
        ("TURBOV2_MAX_BODY", "1024MiB", "1GiB"),
        ("TURBOV2_MAX_BODY", "1001", "1001"),
        ("TURBOV2_AUTO_PULL", "no", "false"),
        ("TURBOV2_PRELOAD", "a, b", "a,b"),
    ],
)
def test_values_read_as_one_would_write_them(variable: str, text: str, shown: str) -> None:
    [setting] = [setting for setting in SETTINGS if setting.variable == variable]
    settings = load_settings({variable: text})
    assert value_text(setting, settings) == shown
    assert setting.parse(shown) == getattr(settings, setting.field)


# doctor


def test_doctor_says_ready() -> None:
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["default_model"]["can_serve"] is True
    assert "wordllama-256d" in report["models"]["installed"]
    assert report["machine"]["memory_limit_bytes"] <= report["machine"]["memory_bytes"]
    assert report["folders"]["data"]["is_writable"] is True


def test_doctor_knows_extras_and_how_to_install_them() -> None:
    extras = {extra["name"]: extra for extra in json.loads(run("doctor", "--json").stdout)["extras"]}
    assert extras["onnx"]["install"] == "pip install 'deposium-embeddings-turbov2[onnx]'"
    assert set(extras["onnx"]["backends"]) < set(extras["starter"]["backends"])
    for extra in extras.values():
        assert extra["is_installed"] is not bool(extra["missing"])


def test_doctor_says_not_ready_and_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOV2_DEFAULT_EMBED_MODEL", "m2v-bge-m3-1024d")
    result = run("doctor")
    assert result.exit_code == 1
    assert "Not ready" in result.stdout
    assert "turbov2 pull m2v-bge-m3-1024d" in result.stdout


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("NVIDIA H200, 143771, 570.86\n", [("NVIDIA H200", 143771 << 20, "570.86")]),
        ("NVIDIA GB10, [N/A], 580.1\n", [("NVIDIA GB10", 0, "580.1")]),
        ("No devices were found\n", []),
    ],
)
def test_gpus_are_read_from_the_drivers_tool(
    monkeypatch: pytest.MonkeyPatch, printed: str, found: list[tuple[str, int, str]]
) -> None:
    answer = subprocess.CompletedProcess([], 0, printed, "")
    monkeypatch.setattr("turbov2.cli._probe.subprocess.run", lambda *args, **kwargs: answer)
    assert [(gpu.name, gpu.memory_bytes, gpu.driver) for gpu in _probe.probe_gpus()] == found


# embed


def test_embed_reads_lines_and_keeps_empty_ones() -> None:
    body = json.loads(run("embed", "--json", stdin="first\n\nthird\r\n").stdout)
    assert body["model"] == "wordllama-256d"
    assert [len(row) for row in body["embeddings"]] == [256, 256, 256]
    again = json.loads(run("embed", "first", "-", "--json", stdin="\nthird").stdout)
    assert again == body


@pytest.mark.parametrize("stdin", [b"", b"\xff\n"])
def test_embed_refuses_what_is_no_text(stdin: bytes) -> None:
    result = run("embed", stdin=stdin)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


def test_embed_tells_of_other_dimensions() -> None:
    assert json.loads(run("embed", "hi", "-d", "64", "--json").stdout)["embeddings"][0][63]
    assert "has 256 dimensions, not 300" in run("embed", "hi", "-d", "300").stderr


# ps and the client


def test_ps_without_a_server_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    result = run("ps")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: no server is listening at http://localhost:1\nhint:  start one with: turbov2 serve\n"
    )


@pytest.mark.parametrize("url", ["ftp://host", "http://", "host:99999", "file:///etc/passwd"])
def test_only_http_addresses_are_asked(url: str) -> None:
    with pytest.raises(CliError, match="is not an address") as caught:
        _client.ask(load_settings({}), url, "/api/ps", dict)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("expires_at", "text"),
    [
        (None, "-"),
        (NOW - dt.timedelta(seconds=5), "in 0 s"),
        (NOW + dt.timedelta(seconds=90), "in 90 s"),
        (NOW + dt.timedelta(minutes=5), "in 5 min"),
        (NOW + dt.timedelta(hours=3), "in 3 h"),
        (NOW + dt.timedelta(days=36500), "for ever"),
    ],
)
def test_until_text(expires_at: dt.datetime | None, text: str) -> None:
    assert until_text(expires_at, NOW) == text
