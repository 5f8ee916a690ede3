"""Servers that are asked to end, or get company: what was let in is answered, and nothing is left over."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fault.conftest import REAL_APART, SetFire
from tests.support.fire import Flow
from tests.support.server import DEADLINE_S, MakeServer, fake_model, leases, until


def test_sigterm_under_load_loses_nothing(
    make_server: MakeServer, tmp_path: Path, real_apart: str, set_fire: SetFire
) -> None:
    """Clients go on until they see that the server is not ready, as a balancer makes them."""
    models = fake_model("slow", tmp_path, runner="process", delay_s_per_token=0.001)
    server = make_server(models=models + real_apart)
    flows = Flow("apart", REAL_APART), Flow("in batches", "slow", n_texts=20)
    with set_fire(server, *flows) as fire:
        fire.until_all_flow()
        children = server.children()
        assert len(children) == 2
        long = [fire.send("long", "slow", [f"{n} " + "word " * 500]) for n in range(6)]
        until(lambda: leases(server, "slow") >= 6)
        server.terminate()
        until(lambda: server.http.get("/readyz").status_code == 503)
        assert server.http.get("/livez").status_code == 200
        fire.stop_flows()
        assert all(each.result(DEADLINE_S) is not None for each in long)
        server.http.close()  # an idle connection is no reason to stay, and neither is this one
        assert server.wait() == 0
    assert fire.ledger.n("answered") == fire.ledger.n_sent()
    until(lambda: not any(child.is_running() for child in children))
    assert "Traceback" not in server.log()


def test_a_drain_that_is_too_short_says_so_to_those_it_cuts(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    models = fake_model("slow", tmp_path, runner="process", delay_s_per_token=0.001)
    server = make_server(models=models, env={"TURBOV2_DRAIN": "1s"})
    with set_fire(server) as fire:
        fire.send("short", "slow", ["text"]).result(DEADLINE_S)
        children = server.children()
        long = [fire.send("long", "slow", [f"{n} " + "word " * 30_000]) for n in range(10)]
        until(lambda: leases(server, "slow") == 10)
        fire.stop_flows()
        server.terminate()
        asked_s = time.monotonic()
        for each in long:
            answer = each.result(DEADLINE_S)
            assert answer is not None
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        server.wait()
        assert time.monotonic() - asked_s < 1 + 5
    assert fire.ledger.n("refused", "long") == 10
    until(lambda: not any(child.is_running() for child in children))
    assert "Traceback" not in server.log()


def test_a_second_server_with_the_same_home_comes_and_goes(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    models = fake_model("shared", tmp_path, runner="process", delay_s=0.002)
    home = {"TURBOV2_HOME": str(tmp_path / "home")}
    first = make_server(models=models, env=home)
    with set_fire(first, Flow("of the first", "shared")) as fire:
        fire.until_all_flow()
        second = make_server(models=models, env=home)
        with set_fire(second, Flow("of the second", "shared")) as other:
            other.until_all_flow()
            fire.until_all_flow()
        second.terminate()
        assert second.wait() == 0
        fire.until_all_flow()
    assert fire.ledger.n("answered") == fire.ledger.n_sent()
    assert other.ledger.n("answered") == other.ledger.n_sent()
