"""How long models stay: TURBOV2_PIN, keep_alive in a models file, and readiness when one cannot come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.server import FAKE, MakeServer, RunningServer, ask, fake_model, loaded, metric, until

OTHER = "fake-other"


def with_keep_alive(table: str, value: str) -> str:
    """Returns the models file's table with the model's own keep_alive."""
    return table.replace("dimensions = 8", f'dimensions = 8\nkeep_alive = "{value}"', 1)


def ps_event(server: RunningServer, model: str) -> str:
    """Returns the kind of the last event of the model."""
    events = server.http.get("/api/status").json()["events"]
    return str([event["kind"] for event in events if event["model"] == model][-1])


def test_a_pinned_model_is_not_loaded_at_start_and_then_stays(
    make_server: MakeServer, tmp_path: Path
) -> None:
    models = fake_model(FAKE, tmp_path) + fake_model(OTHER, tmp_path)
    env = {"TURBOV2_PIN": f"{FAKE.upper()}", "TURBOV2_KEEP_ALIVE": "10ms", "TURBOV2_PRELOAD": "none"}
    server = make_server(models=models, env=env)
    assert loaded(server) == {}
    for model in (FAKE, OTHER):
        assert ask(server, "/api/embed", model, "x", keep_alive=0).status_code == 200
    until(lambda: set(loaded(server)) == {FAKE})
    assert loaded(server)[FAKE]["pinned"] is True
    assert loaded(server)[FAKE]["expires_at"] > "2100"
    assert server.http.get("/v1/models").status_code == 200
    assert ps_event(server, OTHER) == "expired"
    ask(server, "/api/embed", FAKE, [], keep_alive=0)
    until(lambda: loaded(server) == {})
    assert ps_event(server, FAKE) == "unloaded", "asked for by name, even a pinned one goes"


def test_a_models_own_keep_alive(make_server: MakeServer, tmp_path: Path) -> None:
    models = [
        with_keep_alive(fake_model("short", tmp_path), "100ms"),
        with_keep_alive(fake_model("long", tmp_path), "2h"),
        with_keep_alive(fake_model("for-ever", tmp_path), "-1s"),
        fake_model("default", tmp_path),
    ]
    server = make_server(models="\n".join(models), env={"TURBOV2_KEEP_ALIVE": "30m"})
    for model in ("for-ever", "long", "default", "short"):
        assert ask(server, "/api/embed", model, "x").status_code == 200
    until(lambda: "short" not in loaded(server))
    assert ps_event(server, "short") == "expired"
    ends = {name: model["expires_at"] for name, model in loaded(server).items()}
    assert ends["default"] < ends["long"] < ends["for-ever"]
    assert ends["for-ever"] > "2100"
    assert ask(server, "/api/embed", "for-ever", "x", keep_alive="1ms").status_code == 200
    until(lambda: "for-ever" not in loaded(server))


def test_a_preloaded_model_that_cannot_come_back_makes_the_server_unready(
    make_server: MakeServer, tmp_path: Path
) -> None:
    models = fake_model(FAKE, tmp_path, runner="process") + fake_model(OTHER, tmp_path)
    server = make_server(models=models, env={"TURBOV2_PRELOAD": FAKE})
    weights = tmp_path / FAKE
    shutil.move(weights, tmp_path / "away")
    (child,) = (child for child in server.children() if "turbov2" in " ".join(child.cmdline()))
    child.kill()
    until(lambda: server.http.get("/readyz").status_code == 503)
    until(lambda: loaded(server)[FAKE]["state"] == "failed" and "not here" in loaded(server)[FAKE]["failure"])
    health = server.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert server.http.get("/livez").status_code == 200, "restarting the server would not help"
    server.assert_well(OTHER)
    assert metric(server, "turbov2_crashes_total", model=FAKE) == 1
    shutil.move(tmp_path / "away", weights)
    until(lambda: loaded(server)[FAKE]["state"] == "ready")  # nobody had to ask for it
    assert server.http.get("/readyz").status_code == 200
    server.assert_well(FAKE)


def test_a_preloaded_model_that_crashes_is_there_again_by_itself(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(models=fake_model(FAKE, tmp_path, runner="process"), env={"TURBOV2_PRELOAD": FAKE})
    (child,) = (child for child in server.children() if "turbov2" in " ".join(child.cmdline()))
    child.kill()
    until(lambda: metric(server, "turbov2_loads_total", model=FAKE) == 2)
    until(lambda: server.http.get("/readyz").status_code == 200)
    assert child.pid not in [each.pid for each in server.children()]


@pytest.mark.parametrize("variable", ["TURBOV2_PIN", "TURBOV2_PRELOAD", "TURBOV2_DEFAULT_EMBED_MODEL"])
def test_an_unknown_model_in_a_setting_stops_the_start(make_server: MakeServer, variable: str) -> None:
    with pytest.raises(AssertionError, match=f"{variable}: no model is called 'wordlama-256'"):
        make_server(env={variable: "wordlama-256"})
