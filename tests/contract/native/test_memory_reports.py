"""What the server tells of its memory: /api/explain, /api/ps, /api/status, /health and /readyz."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.server import (
    RunningServer,
    ask,
    error_text,
    fake_model,
    loaded,
    metric,
    ollama_error,
    until,
)
from turbov2.cli import app

PINNED, CHILD, IDLE = "fake-pinned", "fake-child", "fake-idle"
BROKEN, LARGE, HUGE = "fake-broken", "fake-large", "fake-huge"
GARBAGE = "static-garbage"  # files that hold no model
BUDGET_BYTES = 600_000_000
EVENT = {"at", "kind", "model", "key", "reason", "bytes", "seconds"}
POOL = {"name", "budget_bytes", "committed_bytes", "available_bytes", "head_room_bytes"}
PLAN = {
    "model", "state", "need", "need_source", "fits", "victims", "in_the_way", "ready_in_s", "failed_reason",
    "retry_in_s", "last_events",
}  # fmt: skip
PS = {
    "name", "size", "size_vram", "expires_at", "context_length", "state", "leases", "load_seconds", "bytes",
    "estimated_bytes", "last_used_at", "uses", "pinned", "priority", "queued_items", "failure",
    "retry_in_seconds",
}  # fmt: skip
_PATH = re.compile(r"(?<![\w<])/[\w.-]+/")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A budget of 600 MB: 200 MB are pinned, 200 MB more fit beside them, 700 MB never do."""
    folder = tmp_path_factory.mktemp("crowded")
    models = [
        fake_model(PINNED, folder, need_bytes=200_000_000),
        fake_model(CHILD, folder, runner="process", max_tokens=8),
        fake_model(IDLE, folder, runner="thread", need_bytes=200_000_000),
        fake_model(LARGE, folder, need_bytes=300_000_000),
        fake_model(HUGE, folder, need_bytes=700_000_000),
        fake_model(BROKEN, folder, runner="process", load_fails=True),
        fake_model(GARBAGE, folder, runner="process").replace('backend = "fake"', 'backend = "static"'),
        '[models."fake-unbuilt"]\ncapability = "embed"\nbackend = "nonesuch"\nrunner = "inline"\n'
        'weights = { kind = "path", path = "/nowhere" }\n',
    ]
    env = {"TURBOV2_HOST_BUDGET": str(BUDGET_BYTES), "TURBOV2_PRELOAD": PINNED}
    with RunningServer(folder, models="\n".join(models), env=env) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(crowded: RunningServer) -> None:
    """Before each test only the pinned model is there, and nothing is held against any."""
    for name in (CHILD, IDLE, BROKEN, LARGE, GARBAGE):
        crowded.http.post("/api/embed", json={"model": name, "keep_alive": 0})
    until(lambda: set(loaded(crowded)) == {PINNED})


def explain(server: RunningServer, name: str) -> dict[str, Any]:
    answer = server.http.get("/api/explain", params={"model": name})
    assert answer.status_code == 200, answer.text
    plan: dict[str, Any] = answer.json()
    assert set(plan) == PLAN
    assert all(set(event) == EVENT for event in plan["last_events"])
    return plan


def fail_to_load(server: RunningServer, name: str = BROKEN) -> None:
    """Afterwards the model has failed to load, and is not tried again for more than a second."""
    for _ in range(2):
        assert ask(server, "/api/embed", name, "x").status_code == 500


# /api/explain


def test_of_a_model_that_is_not_loaded(crowded: RunningServer) -> None:
    plan = explain(crowded, LARGE)
    assert (plan["model"], plan["state"], plan["fits"]) == (LARGE, "absent", True)
    assert plan["need"] == {"host": 345_000_000}, "the catalogue's figure and 15 % more"
    assert plan["need_source"] == "estimated"
    assert (plan["victims"], plan["in_the_way"], plan["failed_reason"]) == ([], [], "")
    assert plan["ready_in_s"] is None, "it was never loaded here"
    assert set(loaded(crowded)) == {PINNED}, "looking loads nothing"


def test_of_a_loaded_model(crowded: RunningServer) -> None:
    assert ask(crowded, "/api/embed", CHILD, "x").status_code == 200
    plan = explain(crowded, CHILD)
    assert (plan["state"], plan["fits"], plan["ready_in_s"]) == ("ready", True, 0.0)
    assert plan["need_source"] == "measured"
    assert plan["need"]["host"] > 1_000_000
    assert plan["retry_in_s"] is None
    assert plan["last_events"][-1]["kind"] == "loaded"
    assert {event["model"] for event in plan["last_events"]} == {CHILD}


def test_of_a_model_that_would_send_another_away(crowded: RunningServer) -> None:
    assert ask(crowded, "/api/embed", IDLE, "x").status_code == 200
    plan = explain(crowded, LARGE)
    assert plan["fits"] is True
    (victim,) = plan["victims"]
    assert victim["model"] == IDLE
    assert victim["bytes"]["host"] >= 200_000_000
    assert re.fullmatch(r"normal priority, idle for \d+ s, loads again in \d+\.\d s", victim["reason"])
    assert set(loaded(crowded)) == {PINNED, IDLE}, "looking sends nobody away"
    assert ask(crowded, "/api/embed", LARGE, "x").status_code == 200
    assert set(loaded(crowded)) == {PINNED, LARGE}, "and the plan was true"
    assert explain(crowded, IDLE)["last_events"][-1]["kind"] == "evicted"


def test_of_a_model_that_can_never_fit(crowded: RunningServer) -> None:
    plan = explain(crowded, HUGE)
    assert (plan["state"], plan["fits"], plan["ready_in_s"]) == ("absent", False, None)
    assert plan["failed_reason"] == (
        "model 'fake-huge' needs about 805 MB, more than the whole budget of 600 MB; "
        "raise TURBOV2_HOST_BUDGET"
    )
    assert plan["in_the_way"] == [{"model": PINNED, "why": "pinned"}]
    assert error_text("/api/embed", ask(crowded, "/api/embed", HUGE, "x"), 503) == plan["failed_reason"]


def test_of_a_model_that_failed(crowded: RunningServer) -> None:
    fail_to_load(crowded)
    plan = explain(crowded, BROKEN)
    assert plan["state"] == "failed"
    assert plan["failed_reason"] == "model 'fake-broken' was told not to load"
    assert 0 < plan["retry_in_s"] <= 1.0
    assert [event["kind"] for event in plan["last_events"][-2:]] == ["load_failed", "load_failed"]


@pytest.mark.parametrize("name", [CHILD.upper(), f"{CHILD}:latest"])
def test_names_are_those_of_requests(crowded: RunningServer, name: str) -> None:
    assert explain(crowded, name)["model"] == CHILD


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("", 400, "model is required: /api/explain?model=NAME"),
        ("?model=", 400, "model is required"),
        ("?model=nobody", 404, "model 'nobody' not found"),
        ("?model=a%0Ab", 400, "invalid model name"),
    ],
)
def test_what_cannot_be_explained(crowded: RunningServer, query: str, status: int, says: str) -> None:
    assert says in ollama_error(crowded.http.get(f"/api/explain{query}"), status)


# /api/ps, /api/status, /health


def test_ps_tells_what_each_model_takes_and_why_it_stays(crowded: RunningServer) -> None:
    for _ in range(3):
        assert ask(crowded, "/api/embed", CHILD, "x", keep_alive="7m").status_code == 200
    body = crowded.http.get("/api/ps").json()
    assert set(body) == {"models", "pools", "events"}
    assert [model["name"] for model in body["models"]] == [f"{PINNED}:latest", f"{CHILD}:latest"]
    pinned, child = body["models"]
    assert set(pinned) >= PS
    assert (pinned["pinned"], child["pinned"]) == (True, False)
    assert (child["state"], child["leases"], child["queued_items"], child["uses"]) == ("ready", 0, 0, 3)
    assert child["size"] == child["bytes"]["host"] > 1_000_000
    assert child["estimated_bytes"]["host"] > 1_000_000
    assert (child["priority"], child["failure"], child["retry_in_seconds"]) == ("normal", "", None)
    used_at = dt.datetime.fromisoformat(child["last_used_at"])
    assert abs((dt.datetime.now(dt.UTC) - used_at).total_seconds()) < 5
    (host,) = (pool for pool in body["pools"] if pool["name"] == "host")
    assert set(host) == POOL
    assert host["budget_bytes"] == BUDGET_BYTES
    assert host["committed_bytes"] == sum(model["size"] for model in body["models"])
    assert 0 < len(body["events"]) <= 10
    assert all(set(event) == EVENT for event in body["events"])
    assert body["events"][-1]["kind"] == "loaded"


def test_ps_shows_a_failed_model_and_its_next_try(crowded: RunningServer) -> None:
    fail_to_load(crowded)
    broken = loaded(crowded)[BROKEN]
    assert (broken["state"], broken["size"]) == ("failed", 0)
    assert broken["failure"] == "model 'fake-broken' was told not to load"
    assert 0 <= broken["retry_in_seconds"] <= 1.0


def test_status_tells_of_processes_pools_and_events(crowded: RunningServer) -> None:
    assert ask(crowded, "/api/embed", CHILD, "x").status_code == 200
    body = crowded.http.get("/api/status").json()
    residents = {resident["model"]: resident for resident in body["residents"]}
    assert set(residents) == {PINNED, CHILD}
    assert residents[PINNED]["pid"] == crowded.pid
    assert residents[CHILD]["pid"] in {child.pid for child in crowded.children()}
    assert residents[CHILD]["is_pinned"] is False
    assert {pool["name"] for pool in body["pools"]} >= {"host"}
    assert all(set(event) == EVENT for event in body["events"])
    ats = [event["at"] for event in body["events"]]
    assert ats == sorted(ats), "newest last"
    assert {model["name"] for model in body["models"]} >= {PINNED, CHILD, HUGE, "fake-unbuilt"}


def test_health_is_degraded_while_a_model_has_failed(crowded: RunningServer) -> None:
    assert crowded.http.get("/health").json()["status"] == "healthy"
    fail_to_load(crowded)
    health = crowded.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert {"name": BROKEN, "state": "failed", "host_bytes": 0} in health.json()["models"]
    assert crowded.http.get("/readyz").status_code == 200, "others serve"
    assert metric(crowded, "turbov2_model_state", model=BROKEN, state="failed") == 1
    crowded.http.post("/api/embed", json={"model": BROKEN, "keep_alive": 0})
    assert crowded.http.get("/health").json()["status"] == "healthy"


def test_no_event_holds_a_path(crowded: RunningServer) -> None:
    fail_to_load(crowded)
    fail_to_load(crowded, GARBAGE)
    for name in (CHILD, IDLE, LARGE, HUGE, "fake-unbuilt"):
        ask(crowded, "/api/embed", name, "x")
    until(lambda: CHILD in loaded(crowded))
    status = crowded.http.get("/api/status").json()
    told = [*status["events"], *status["residents"], *crowded.http.get("/api/ps").json()["models"]]
    told += [explain(crowded, name) for name in (BROKEN, GARBAGE, CHILD, HUGE, "fake-unbuilt")]
    assert len(status["events"]) > 4
    for each in told:
        assert not (found := _PATH.search(str(each))), f"{found!r} in {each}"
        assert str(crowded.folder) not in str(each)


# The same on the command line


def turbov2(server: RunningServer, *args: str) -> list[str]:
    result = CliRunner().invoke(app, [*args, "--url", server.base_url], prog_name="turbov2")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_ps_on_the_command_line(crowded: RunningServer) -> None:
    assert ask(crowded, "/api/embed", CHILD, "x").status_code == 200
    header, pinned, child, *memory = turbov2(crowded, "ps")
    assert header.split() == ["NAME", "STATE", "SIZE", "EXPECTED", "IN", "USE", "QUEUED", "USED", "UNTIL"]
    assert pinned.split()[:2] == [PINNED, "ready"]
    assert pinned.endswith("pinned")
    assert re.search(r"\d+ s ago +in \d min$", child), child
    host = next(line for line in memory if line.startswith("host "))
    assert re.search(r"[\d.]+ MB of 600\.0 MB for models; the machine has [\d.]+ .B free", host)
    assert any(re.match(rf"\d\d:\d\d:\d\d +{CHILD} loaded: .* \d+ MB", line) for line in memory)


def test_explain_on_the_command_line(crowded: RunningServer) -> None:
    fail_to_load(crowded)
    lines = turbov2(crowded, "explain", BROKEN)
    assert lines[0].split(maxsplit=1) == ["model", "fake-broken is failed"]
    assert any("was told not to load; tried again in" in line for line in lines)
    huge = "\n".join(turbov2(crowded, "explain", HUGE))
    assert "more than the whole budget of 600 MB" in huge
    assert "fake-pinned: pinned" in huge


def test_explaining_an_unknown_model_on_the_command_line(crowded: RunningServer) -> None:
    result = CliRunner().invoke(app, ["explain", "a b/ü&c", "--url", crowded.base_url], prog_name="turbov2")
    assert result.exit_code == 1
    assert "answered 404: model 'a b/ü&c' not found" in result.stderr


def test_explain_says_why_a_model_cannot_run_here_at_all(crowded: RunningServer) -> None:
    plan = crowded.http.get("/api/explain", params={"model": "fake-unbuilt"}).json()
    assert (plan["state"], plan["fits"], plan["ready_in_s"]) == ("absent", False, None)
    assert "its backend 'nonesuch' is not built yet" in plan["failed_reason"]
