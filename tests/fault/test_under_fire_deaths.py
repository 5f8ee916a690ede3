"""Children that die while clients use them: who shares nothing with the cause never notices."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.fault.conftest import REAL_APART, SetFire
from tests.support.fire import Flow
from tests.support.server import (
    DEADLINE_S,
    MakeServer,
    RunningServer,
    error_text,
    fake_model,
    leases,
    ollama_error,
    until,
)
from tests.support.told import Told, child_of, explain, resident

READY_AGAIN_S = 5.0
ONE_BY_ONE = Flow("one by one", "frail", n_clients=4)
IN_BATCHES = Flow("in batches", "frail", n_clients=2, n_texts=20)
HAVOC = {f"{name}_on": f"{name}-now" for name in ("crash", "segfault", "exit", "garbage", "spawn", "hang")}


@pytest.fixture
def frail(make_server: MakeServer, tmp_path: Path, real_apart: str) -> RunningServer:
    fake = fake_model("frail", tmp_path, runner="process", delay_s=0.002, **HAVOC)
    return make_server(models=fake + real_apart)


def kill(server: RunningServer, model: str) -> None:
    """Afterwards the model's process is gone."""
    child = child_of(server, model)
    child.kill()
    until(lambda: not child.is_running())


@pytest.mark.parametrize("model", ["frail", REAL_APART])
def test_one_kill_9_is_seen_by_nobody(frail: RunningServer, set_fire: SetFire, model: str) -> None:
    one_by_one = Flow("one by one", model, n_clients=4)
    with set_fire(frail, one_by_one, Flow("in batches", model, n_clients=2, n_texts=20)) as fire:
        fire.until_all_flow()
        kill(frail, model)
        ready_s = fire.until_answered("one by one")
        fire.until_all_flow()
        assert frail.http.get("/readyz").status_code == 200
    assert fire.ledger.n("answered") == fire.ledger.n_sent(), "those in flight were sent to the new process"
    assert ready_s < READY_AGAIN_S
    told = Told.by(frail)
    assert told.total("turbov2_crashes_total", model=model) == 1
    assert told.total("turbov2_loads_total", model=model) == 2


def test_kills_in_a_row_are_told_and_survived(frail: RunningServer, set_fire: SetFire) -> None:
    """The pauses are 0, 0.5, 1, 2 and 4 s; who comes more than 2 s early is sent away."""
    with set_fire(frail, ONE_BY_ONE) as fire:
        for _ in range(5):
            fire.until_all_flow()
            kill(frail, "frail")
        until(lambda: fire.ledger.n("refused") > 0)
        assert resident(frail, "frail")["state"] == "failed"
        assert "ended (signal 9)" in resident(frail, "frail")["failure"]
        plan = explain(frail, "frail")
        assert (plan["state"], "signal 9" in plan["failed_reason"]) == ("failed", True)
        assert 0 < plan["retry_in_s"] <= 4
        assert frail.http.get("/health").json()["status"] == "degraded", (
            "others serve, so it is not unavailable"
        )
        assert frail.http.get("/readyz").status_code == 200
        refusal = fire.send("refused", "frail", ["text"]).result(DEADLINE_S)
        assert refusal is not None
        assert "signal 9" in ollama_error(refusal, 500)
        assert 1 <= int(refusal.headers["retry-after"]) <= 4
        fire.until_all_flow()
    assert frail.http.get("/health").json()["status"] == "healthy"


def test_readyz_tells_when_a_preloaded_model_is_down(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    needed = fake_model("needed", tmp_path, runner="process")
    server = make_server(models=needed, env={"TURBOV2_PRELOAD": "needed"})
    with set_fire(server) as fire:
        for _ in range(3):
            kill(server, "needed")
        until(lambda: server.http.get("/readyz").status_code == 503)
        assert server.http.get("/health").json()["status"] == "unavailable"
        assert server.http.get("/livez").status_code == 200
        fire.until_answered("bystander")
        until(lambda: server.http.get("/readyz").status_code == 200)  # nobody asked for it
        assert server.http.get("/health").json()["status"] == "healthy"


@pytest.mark.parametrize(
    ("poison", "path"),
    [
        ("segfault-now", "/api/embed"),
        ("crash-now", "/v1/embeddings"),
        ("exit-now", "/api/embed"),
        ("garbage-now", "/v1/embeddings"),
    ],
)
def test_a_text_that_kills_fails_alone(
    frail: RunningServer, set_fire: SetFire, poison: str, path: str
) -> None:
    with set_fire(frail, ONE_BY_ONE, IN_BATCHES) as fire:
        fire.until_all_flow()
        started_s = time.monotonic()
        texts = ["innocent by itself", poison]
        answer = fire.send("poison", "frail", texts, is_guilty=True, path=path).result(DEADLINE_S)
        assert answer is not None
        assert "ended" in error_text(path, answer, 500)
        assert int(answer.headers["retry-after"]) >= 1
        fire.until_all_flow()
        assert time.monotonic() - started_s < 3 * READY_AGAIN_S, "two deaths, two loads and a pause"
    assert fire.ledger.n("refused", "poison") == 1
    assert fire.ledger.n("answered") == fire.ledger.n_sent() - 1, "only the poisoned request failed"
    assert Told.by(frail).total("turbov2_crashes_total", model="frail") == 2, "it was tried once more, alone"


def test_whoever_runs_when_it_dies_twice_is_told(frail: RunningServer, set_fire: SetFire) -> None:
    with set_fire(frail) as fire:
        fire.send("others", "frail", ["text"]).result(DEADLINE_S)
        unlucky = fire.send("unlucky", "frail", ["hang-now"], is_guilty=True)
        until(lambda: leases(frail, "frail") == 1)
        while not unlucky.done():
            kill(frail, "frail")
            until(lambda: unlucky.done() or resident(frail, "frail").get("state") == "ready")
        answer = unlucky.result()
        assert answer is not None
        assert "ended" in ollama_error(answer, 500)
        assert int(answer.headers["retry-after"]) >= 1
        fire.send("others", "frail", ["text"]).result(DEADLINE_S)


def test_one_killed_while_idle_is_started_again_unseen(frail: RunningServer, set_fire: SetFire) -> None:
    with set_fire(frail) as fire:
        for _ in range(2):
            fire.send("others", "frail", ["text"]).result(DEADLINE_S)
            kill(frail, "frail")
        fire.send("others", "frail", ["text"]).result(DEADLINE_S)
    assert fire.ledger.n("answered", "others") == 3


def test_what_a_child_started_dies_with_it(frail: RunningServer, set_fire: SetFire) -> None:
    with set_fire(frail, ONE_BY_ONE) as fire:
        fire.until_all_flow()
        child = child_of(frail, "frail")
        fire.send("spawns", "frail", ["spawn-now here"], is_guilty=True)
        until(lambda: bool(child.children()))
        (grandchild,) = child.children()
        child.kill()
        until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)
        fire.until_all_flow()
