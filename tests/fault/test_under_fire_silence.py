"""Children that say nothing, and clients that leave: whoever still waits is served, and soon."""

from __future__ import annotations

import signal
import time
from concurrent.futures import Future
from pathlib import Path

import httpx
import pytest

from tests.fault.conftest import SetFire
from tests.support.fire import Fire, Flow
from tests.support.server import DEADLINE_S, MakeServer, RunningServer, fake_model, leases, until
from tests.support.told import Told, child_of

READY_AGAIN_S = 5.0
HEARTBEAT_S = 10.0  # of ProcessRunner, and two more until it is missed
STOPS_WITHIN_S = 0.2  # the promise; the bounds below leave a busy machine some room
ROOM_S = 1.0


def test_a_stopped_child_is_missed_and_replaced(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    server = make_server(models=fake_model("numb", tmp_path, runner="process", delay_s=0.002))
    with set_fire(server, Flow("one by one", "numb"), Flow("in batches", "numb", n_texts=20)) as fire:
        fire.until_all_flow()
        child = child_of(server, "numb")
        child.send_signal(signal.SIGSTOP)
        silent_s = fire.until_answered("one by one")
        assert not child.is_running()
        fire.until_all_flow()
    assert fire.ledger.n("answered") == fire.ledger.n_sent(), "they waited and were answered by the next"
    assert silent_s < HEARTBEAT_S + 2 + READY_AGAIN_S


def test_a_forward_that_hangs_is_ended_once_nobody_waits_for_it(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    model = fake_model("drowsy", tmp_path, runner="process", hang_on="hang-now", delay_s=0.002)
    server = make_server(models=model, env={"TURBOV2_REQUEST_TIMEOUT": "2s"})
    with set_fire(server, Flow("one by one", "drowsy"), Flow("in batches", "drowsy", n_texts=20)) as fire:
        fire.until_all_flow()
        child = child_of(server, "drowsy")
        answer = fire.send("poison", "drowsy", ["hang-now"], is_guilty=True).result(DEADLINE_S)
        assert answer is not None
        assert answer.status_code == 504
        until(lambda: not child.is_running(), READY_AGAIN_S)
        fire.until_all_flow()
    assert Told.by(server).total("turbov2_requests_ended_total", outcome="failed") == 0


class TestLeaving:
    @pytest.fixture
    def slow(self, make_server: MakeServer, tmp_path: Path) -> RunningServer:
        """A text of 30,000 words takes it half a minute, one of four words 4 ms."""
        return make_server(models=fake_model("slow", tmp_path, runner="process", delay_s_per_token=0.001))

    def leave(self, server: RunningServer, left: Future[httpx.Response | None], n_staying: int = 0) -> float:
        """Returns the seconds from leaving until the server holds the model for those who stay alone."""
        left_s = time.monotonic()
        left.cancel()
        until(lambda: leases(server, "slow") <= n_staying)
        return time.monotonic() - left_s

    def until_running(self, fire: Fire, server: RunningServer) -> Future[httpx.Response | None]:
        """Returns a request whose forward takes half a minute, once it is with the child."""
        long = fire.send("leaves", "slow", ["word " * 30_000])
        until(lambda: leases(server, "slow") == 1 and Told.by(server).total("turbov2_queue_items") == 0)
        return long

    def test_a_forward_that_nobody_waits_for_is_ended(self, slow: RunningServer, set_fire: SetFire) -> None:
        with set_fire(slow) as fire:
            fire.send("others", "slow", ["a text"]).result(DEADLINE_S)
            child = child_of(slow, "slow")
            long = self.until_running(fire, slow)
            left_s = time.monotonic()
            assert self.leave(slow, long) < STOPS_WITHIN_S + ROOM_S
            until(lambda: not child.is_running())
            ended_s = time.monotonic() - left_s
            answer = fire.send("others", "slow", ["another text"]).result(DEADLINE_S)
            ready_s = time.monotonic() - left_s
            print(f"\nended {ended_s * 1000:.0f} ms after its client left, ready again after {ready_s:.1f} s")
            assert ended_s < STOPS_WITHIN_S + ROOM_S
            assert ready_s < READY_AGAIN_S
        assert answer is not None
        assert answer.status_code == 200
        assert fire.ledger.n("cancelled") == 1

    def test_what_waits_for_one_who_left_is_dropped(self, slow: RunningServer, set_fire: SetFire) -> None:
        with set_fire(slow, Flow("stays", "slow", n_clients=2)) as fire:
            fire.until_all_flow()
            bulk = [
                fire.send("leaves", "slow", [f"{n} {i} " + "word " * 98 for i in range(200)])
                for n in range(2)
            ]
            until(lambda: Told.by(slow).total("turbov2_queue_items", model="slow") > 100)
            fire.until_all_flow()
            left_s = time.monotonic()
            for each in bulk:
                each.cancel()
            until(lambda: Told.by(slow).total("turbov2_queue_items", model="slow") < 10)
            dropped_s = time.monotonic() - left_s
            print(f"\n40 s of work dropped within {dropped_s * 1000:.0f} ms")
            assert dropped_s < STOPS_WITHIN_S + ROOM_S
            fire.until_all_flow()
        assert fire.ledger.n("answered", "stays") + fire.ledger.n("answered", "bystander") == (
            fire.ledger.n_sent() - 2
        ), "whoever stayed noticed nothing"

    def test_half_of_those_who_wait_leave(self, slow: RunningServer, set_fire: SetFire) -> None:
        with set_fire(slow) as fire:
            fire.send("stays", "slow", ["a text"]).result(DEADLINE_S)
            waiting = [
                fire.send("stays" if n % 2 else "leaves", "slow", [f"{n} " + "word " * 49]) for n in range(40)
            ]
            until(lambda: leases(slow, "slow") >= 30)
            for each in waiting[::2]:
                each.cancel()
            assert all(each.result(DEADLINE_S) is not None for each in waiting[1::2])
        assert fire.ledger.n("answered", "stays") == 21
        assert fire.ledger.n("answered", "leaves") + fire.ledger.n("cancelled", "leaves") == 20
