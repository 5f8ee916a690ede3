"""Loads that take long, fail, or have no room on the disk: told as they are, mended without a restart."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import psutil

from tests.fault.conftest import REAL_APART, SetFire
from tests.support.fire import Flow
from tests.support.hub import REPO, FakeHub
from tests.support.server import (
    DEADLINE_S,
    MakeServer,
    RunningServer,
    fake_model,
    leases,
    ollama_error,
    until,
)
from tests.support.told import Told, explain, resident

ON_THE_HUB = f"""
[models.tiny]
capability = "embed"
backend = "static"
runner = "inline"
weights = {{ kind = "hub", repo = "{REPO}", files = ["*.json", "*.safetensors"] }}
"""


def test_fifty_who_wait_for_one_load_while_half_of_them_leave(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    server = make_server(models=fake_model("heavy", tmp_path, runner="process", load_delay_s=2.0))
    with set_fire(server) as fire:
        waiting = [fire.send("stays" if n % 2 else "leaves", "heavy", [f"text {n}"]) for n in range(50)]
        until(lambda: leases(server, "heavy") == 50)
        for each in waiting[::2]:
            each.cancel()
        until(lambda: leases(server, "heavy") == 25)
        assert resident(server, "heavy")["state"] == "loading"
        assert explain(server, "heavy")["state"] == "loading"
        assert server.http.get("/readyz").status_code == 200
        fire.until_answered("bystander")
        assert all(each.result(DEADLINE_S) is not None for each in waiting[1::2])
    assert (fire.ledger.n("answered", "stays"), fire.ledger.n("cancelled", "leaves")) == (25, 25)
    assert Told.by(server).total("turbov2_loads_total", model="heavy") == 1


def test_weights_that_do_not_load_are_tried_rarely_and_serve_once_mended(
    make_server: MakeServer, tmp_path: Path, real_apart: str, set_fire: SetFire
) -> None:
    weights = tmp_path / REAL_APART / "model.safetensors"
    good = weights.resolve()
    weights.unlink()
    weights.write_bytes(good.read_bytes()[:100_000])
    server = make_server(models=real_apart)
    with set_fire(server, Flow("asks", REAL_APART, n_clients=4)) as fire:
        until(lambda: Told.by(server).total("turbov2_load_failures_total", model=REAL_APART) >= 4)
        n_refused = fire.ledger.n("refused", "asks")
        n_failures = Told.by(server).total("turbov2_load_failures_total", model=REAL_APART)
        assert n_failures <= 5, "0.5, 1, 2 and 4 s lie between them"
        assert n_refused > 2 * n_failures, "who comes during a long pause starts no load"
        plan = explain(server, REAL_APART)
        assert plan["failed_reason"]
        assert plan["failed_reason"] == resident(server, REAL_APART)["failure"]
        assert server.http.get("/health").json()["status"] == "degraded"
        refusal = fire.send("asks", REAL_APART, ["one more"]).result(DEADLINE_S)
        assert refusal is not None
        assert plan["failed_reason"] in ollama_error(refusal, 500)
        mended = weights.with_name("mended")
        mended.symlink_to(good)
        os.replace(mended, weights)
        mended_s = time.monotonic()
        fire.until_answered("asks")
        assert time.monotonic() - mended_s < 4 + 5, "the pause that had begun, and a load"
    assert server.http.get("/health").json()["status"] == "healthy"
    assert Told.by(server).total("turbov2_loads_total", model=REAL_APART) == 1


def test_a_folder_that_appears_is_served_at_once(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    models = fake_model("late", tmp_path, runner="process")
    folder = tmp_path / "late"
    folder.rename(tmp_path / "elsewhere")
    server = make_server(models=models)
    with set_fire(server) as fire:
        absent = fire.send("early", "late", ["text"], is_guilty=True).result(DEADLINE_S)
        assert absent is not None
        assert "its folder is missing" in ollama_error(absent, 404)
        (tmp_path / "elsewhere").rename(folder)
        fire.send("in time", "late", ["text"]).result(DEADLINE_S)
    assert fire.ledger.n("answered", "in time") == 1


def test_a_full_disk_stops_nobody_but_pulls(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    """The server may write no byte to any file for a while: no log, no footprint, no weights."""
    frail = fake_model("frail", tmp_path, runner="process", delay_s=0.002)
    with FakeHub({"config.json": b"{}", "model.safetensors": bytes(100_000)}) as hub:
        online = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        server = make_server(models=frail + ON_THE_HUB, env=online)
        with set_fire(server, Flow("one by one", "frail")) as fire:
            fire.until_all_flow()
            limit_files(server, 0)
            n_logged = len(server.log())
            psutil.Process(resident(server, "frail")["pid"]).kill()
            fire.until_all_flow()
            pulled = server.http.post("/api/pull", json={"model": "tiny", "stream": False})
            assert "the file system failed during the pull" in ollama_error(pulled, 502)
            assert server.http.get("/readyz").status_code == 200
            assert server.http.get("/health").json()["status"] == "healthy"
            fire.until_all_flow()
            assert len(server.log()) == n_logged, "nothing could be written"
            limit_files(server, resource.RLIM_INFINITY)
            pulled = server.http.post("/api/pull", json={"model": "tiny", "stream": False})
            assert pulled.json() == {"status": "success"}
            limit_files(server, 0)
        assert fire.ledger.n("answered") == fire.ledger.n_sent()
        server.terminate()
        assert server.wait() == 0, "footprints that cannot be saved do not spoil the end"


def limit_files(server: RunningServer, n_bytes: int) -> None:
    """Afterwards the server may write no file beyond this size, as if the disk were full."""
    psutil.Process(server.pid).rlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
