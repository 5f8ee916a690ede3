"""Texts that no memory is enough for, that give no numbers, or are too long: neighbours are answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.conftest import SetFire
from tests.support.fire import Fire, Flow
from tests.support.server import DEADLINE_S, MakeServer, RunningServer, fake_model, ollama_error, openai_error
from tests.support.told import Told

LIMIT_TOKENS = 300  # of one forward


@pytest.fixture
def tight(make_server: MakeServer, tmp_path: Path) -> RunningServer:
    harms = {f"{name}_on": f"{name}-now" for name in ("oom", "nan", "fail")}
    models = fake_model(
        "tight", tmp_path, runner="process", delay_s=0.002, oom_above_tokens=LIMIT_TOKENS, **harms
    )
    return make_server(models=models)


ONE_BY_ONE = Flow("one by one", "tight", n_clients=4)
IN_BATCHES = Flow("in batches", "tight", n_clients=3, n_texts=40, n_words=12)


def test_batches_stay_within_what_memory_allows(tight: RunningServer, set_fire: SetFire) -> None:
    """A request of 480 tokens is computed in parts."""
    with set_fire(tight, ONE_BY_ONE, IN_BATCHES) as fire:
        fire.until_all_flow()
        too_long = fire.send("too long", "tight", ["word " * (LIMIT_TOKENS + 1)]).result(DEADLINE_S)
        assert too_long is not None
        ollama_error(too_long, 503)
        assert int(too_long.headers["retry-after"]) >= 1
        fire.until_all_flow()
    assert fire.ledger.n("answered") == fire.ledger.n_sent() - 1
    told = Told.by(tight)
    assert told.total("turbov2_crashes_total") == 0
    assert told.total("turbov2_oom_recoveries_total", model="tight", step="gave_up") == 1


def test_a_text_that_runs_out_of_memory_fails_alone(tight: RunningServer, set_fire: SetFire) -> None:
    with set_fire(tight, ONE_BY_ONE, IN_BATCHES) as fire:
        fire.until_all_flow()
        for n in range(5):
            texts = [f"neighbour {n} {i}" for i in range(7)] + ["oom-now"]
            answer = fire.send("poison", "tight", texts, is_guilty=True).result(DEADLINE_S)
            assert answer is not None
            ollama_error(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
        fire.until_all_flow()
    assert fire.ledger.n("answered") == fire.ledger.n_sent() - 5
    told = Told.by(tight)
    for step in ("free_caches", "evict", "split", "gave_up"):
        assert told.total("turbov2_oom_recoveries_total", model="tight", step=step) > 0, step
    assert told.total("turbov2_crashes_total") == 0


@pytest.mark.parametrize(("poison", "status"), [("nan-now", 400), ("fail-now", 500)])
def test_a_text_that_fails_shares_its_fate_with_nobody(
    tight: RunningServer, set_fire: SetFire, poison: str, status: int
) -> None:
    with set_fire(tight, ONE_BY_ONE, IN_BATCHES) as fire:
        fire.until_all_flow()
        for n in range(10):
            texts = [f"neighbour {n}", poison]
            answer = fire.send("poison", "tight", texts, is_guilty=True).result(DEADLINE_S)
            assert answer is not None
            ollama_error(answer, status)
        fire.until_all_flow()
    assert fire.ledger.n("failed", "poison") == 10
    assert fire.ledger.n("answered") == fire.ledger.n_sent() - 10
    told = Told.by(tight)
    assert told.total("turbov2_crashes_total") == 0
    assert (told.total("turbov2_not_finite_rows_total") > 0) == (poison == "nan-now")


def test_batches_grow_back_after_memory_ran_out(tight: RunningServer, set_fire: SetFire) -> None:
    def n_batches(fire: Fire) -> float:
        before = Told.by(tight).total("turbov2_batches_total", model="tight")
        texts = [f"text {before} {n}" + " word" * 10 for n in range(40)]
        assert fire.send("in a batch", "tight", texts).result(DEADLINE_S) is not None
        return Told.by(tight).total("turbov2_batches_total", model="tight") - before

    with set_fire(tight) as fire:
        fire.send("in a batch", "tight", ["one"]).result(DEADLINE_S)
        n_before = n_batches(fire)
        for n in range(5):
            fire.send("poison", "tight", [f"neighbour {n}", "oom-now"], is_guilty=True).result(DEADLINE_S)
        for _ in range(10):
            n_after = n_batches(fire)
        print(f"\n40 texts took {n_before:g} batches before and {n_after:g} after")
        assert n_after <= 2 * n_before


def test_a_text_that_is_too_long_shares_its_fate_with_nobody(
    make_server: MakeServer, tmp_path: Path, set_fire: SetFire
) -> None:
    """OpenAI's API refuses what Ollama's cuts."""
    server = make_server(models=fake_model("short", tmp_path, runner="process", max_tokens=8, delay_s=0.002))
    with set_fire(server, Flow("one by one", "short", n_words=6)) as fire:
        fire.until_all_flow()
        for n in range(10):
            texts = [f"short {n}", "too long " * 9]
            answer = fire.send("poison", "short", texts, is_guilty=True, path="/v1/embeddings").result(
                DEADLINE_S
            )
            assert answer is not None
            assert openai_error(answer, 400)["code"] == "context_length_exceeded"
        fire.until_all_flow()
    assert fire.ledger.n("answered") == fire.ledger.n_sent() - 10
