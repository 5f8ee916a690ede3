"""More than there is room for: refused at once with a time to come back, and whoever was let in is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.conftest import SetFire
from tests.support.fire import Flow
from tests.support.server import (
    DEADLINE_S,
    MakeServer,
    RunningServer,
    fake_model,
    leases,
    ollama_error,
    until,
)
from tests.support.told import Told

AT_ONCE_S = 0.5  # the promise is 50 ms, of a machine that has nothing else to do
QUICK_S = 1.0  # p99 of a short request behind somebody's ingest: two slices of 120 ms, and a busy machine


class TestFullQueue:
    @pytest.fixture
    def small(self, make_server: MakeServer, tmp_path: Path) -> RunningServer:
        models = fake_model("small", tmp_path, runner="process", delay_s_per_token=0.005)
        return make_server(models=models, env={"TURBOV2_MAX_QUEUE": "16"})

    def test_who_is_refused_is_refused_at_once(self, small: RunningServer, set_fire: SetFire) -> None:
        singles = Flow("one by one", "small", n_clients=12)
        with set_fire(small, singles, Flow("in batches", "small", n_clients=6, n_texts=4)) as fire:
            until(lambda: min(fire.ledger.n("refused", flow) for flow in ("one by one", "in batches")) > 10)
            fire.until_answered("in batches", 2)
            assert small.http.get("/readyz").status_code == 200
        refused_s = max(fire.ledger.p99_s(who, "refused") for who in ("one by one", "in batches"))
        print(f"\nrefused within {refused_s * 1000:.0f} ms (p99)")
        assert refused_s < AT_ONCE_S
        n_told = Told.by(small).total("turbov2_requests_ended_total", error="queue_full")
        assert n_told == fire.ledger.n("refused")

    def test_a_batch_takes_as_many_places_as_it_has_texts(
        self, small: RunningServer, set_fire: SetFire
    ) -> None:
        with set_fire(small) as fire:
            fire.send("let in", "small", ["a text"]).result(DEADLINE_S)
            long = "word " * 600  # three seconds
            held = fire.send("let in", "small", [long, *map(str, range(11))])
            until(lambda: leases(small, "small") == 1)
            for texts in (["5 texts"] * 5, ["16 texts"] * 16):
                refused = fire.send("refused", "small", texts).result(DEADLINE_S)
                assert refused is not None
                message = ollama_error(refused, 503)
                assert "12 inputs already wait" in message
                assert f"this request has {len(texts)}, the limit is 16" in message
                assert int(refused.headers["retry-after"]) >= 1
            never = fire.send("too many", "small", ["17 texts"] * 17, is_guilty=True).result(DEADLINE_S)
            assert never is not None
            assert "at most 16 may wait" in ollama_error(never, 400)
            waiting = fire.send("let in", "small", ["the last", "places", "are", "taken"])
            until(lambda: leases(small, "small") == 2)
            refused = fire.send("refused", "small", ["one more"]).result(DEADLINE_S)
            assert refused is not None
            assert "16 inputs already wait" in ollama_error(refused, 503)
            assert held.result(DEADLINE_S) is not None
            assert waiting.result(DEADLINE_S) is not None
        assert fire.ledger.n("answered", "let in") == 3


def test_a_flood_under_one_key_leaves_another_key_quick(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    models = fake_model("shared", tmp_path, runner="process", delay_s_per_token=0.0005)
    env = {"EMBEDDINGS_API_KEY": "flood,calm", "TURBOV2_OPEN_PATHS": "/*"}
    server = make_server(models=models, env=env)
    flood = Flow("flood", "shared", n_clients=6, n_texts=100, headers=(("x-api-key", "flood"),))
    calm = Flow("calm", "shared", n_clients=2, pause_s=0.05, headers=(("x-api-key", "calm"),))
    with set_fire(server, flood, calm) as fire:
        fire.until_answered("flood", 8)
        fire.until_answered("calm", 30)
    assert fire.ledger.n("answered") == fire.ledger.n_sent()
    assert fire.ledger.p99_s("calm") < QUICK_S
