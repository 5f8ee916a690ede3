"""What `turbov2 ps` and `turbov2 explain` write, without a server."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from turbov2.cli import _client, app
from turbov2.cli.explain import bytes_text, rows
from turbov2.cli.ps import Residents, ago_text
from turbov2.types import MemoryEvent, MemoryPlan, Obstacle, PoolStatus, Victim

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
MB, GB = 10**6, 10**9
PLAN = MemoryPlan(
    model="m",
    state="absent",
    need={"host": 120 * MB, "cuda:0": 2 * GB},
    need_source="estimated",
    fits=True,
    victims=(),
    in_the_way=(),
    ready_in_s=None,
    failed_reason="",
    retry_in_s=None,
    last_events=(),
)


def event(kind: Any = "loaded", reason: str = "it took 1 MB", seconds: float = 0.25) -> MemoryEvent:
    return MemoryEvent(NOW, kind, "m", "key", reason, {"host": MB}, seconds)


def lines(**changes: Any) -> dict[str, str]:
    return dict(rows(msgspec.structs.replace(PLAN, **changes)))


# explain


def test_of_an_absent_model() -> None:
    assert lines() == {
        "model": "m is absent",
        "needs": "120.0 MB host, 2.0 GB cuda:0  [dim](estimated)[/]",
        "fits": "yes",
        "ready in": "unknown: it was never loaded here",
    }


def test_of_a_ready_model() -> None:
    told = lines(state="ready", need_source="measured", ready_in_s=0.0)
    assert "fits" not in told
    assert told["needs"].endswith("[dim](measured at its last load)[/]")
    assert told["ready in"] == "now"


def test_of_a_failed_model() -> None:
    told = lines(state="failed", failed_reason="it broke", retry_in_s=12.4)
    assert told["failed"] == "it broke; tried again in 12 s at the earliest"
    assert lines(failed_reason="it is too large")["failed"] == "it is too large"


@pytest.mark.parametrize(
    ("n", "says"), [(1, "once 1 idle model has gone"), (3, "once 3 idle models have gone")]
)
def test_of_a_model_that_would_send_others_away(n: int, says: str) -> None:
    told = lines(
        victims=tuple(Victim("old", {"host": MB}, "low priority") for _ in range(n)), ready_in_s=2.52
    )
    assert told["fits"] == says
    assert told["would go"] == "old, 1.0 MB host: low priority"
    assert told["ready in"] == "about 2.5 s after it is asked for"


def test_of_a_model_that_does_not_fit() -> None:
    told = lines(fits=False, in_the_way=(Obstacle("big", "pinned"),))
    assert told["fits"] == "not before what is in the way has been let go"
    assert told["in the way"] == "big: pinned"
    assert lines(fits=False)["fits"] == "no"


def test_the_newest_events_come_last() -> None:
    plan = msgspec.structs.replace(
        PLAN, last_events=tuple(event(reason=f"number {n}", seconds=n % 2) for n in range(20))
    )
    told = [text for _, text in rows(plan)][4:]
    assert told[-2:] == ["loaded: number 18", "loaded after 1.00 s: number 19"]
    assert len(told) == 8
    assert "load failed: no" in lines(last_events=(event("load_failed", "no", 0),)).values()


def test_no_bytes_are_nothing() -> None:
    assert bytes_text({}) == "nothing"


# ps


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-3, "0 s ago"), (0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago")],
)
def test_ago_text(seconds: int | None, text: str) -> None:
    assert ago_text(None if seconds is None else NOW - dt.timedelta(seconds=seconds), NOW) == text


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("TURBOV2_", "COLUMNS", "FORCE_COLOR"))]:
        monkeypatch.delenv(name)


def run(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], *args: str) -> Result:
    """Returns what the command writes when the server answers this."""
    monkeypatch.setattr(
        _client, "ask", lambda settings, url, path, shape: msgspec.convert(answer, shape, strict=False)
    )
    result = CliRunner().invoke(app, args, prog_name="turbov2")
    assert result.exit_code == 0, result.output
    return result


def test_an_empty_server_is_told_with_its_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = msgspec.to_builtins(PoolStatus("host", 10 * GB, 0, 4 * GB, GB))
    result = run(monkeypatch, {"models": [], "pools": [pool], "events": []}, "ps")
    assert result.stderr == "nothing is loaded\n"
    assert result.stdout == "host  - of 10.0 GB for models; the machine has 4.0 GB free\n"


def test_another_server_that_speaks_ollama_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    model = {
        "name": "llama3:latest",
        "size": 5 * GB,
        "size_vram": 5 * GB,
        "expires_at": "2126-01-01T00:00:00Z",
    }
    result = run(monkeypatch, {"models": [model]}, "ps")
    header, line = result.stdout.splitlines()
    assert line.split() == ["llama3", "-", "5.0", "GB", "-", "-", "-", "-", "for", "ever"]


def test_a_queue_and_a_failure_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = {
        "name": "busy:latest",
        "size": MB,
        "state": "ready",
        "leases": 3,
        "queued_items": 512,
        "pinned": True,
    }
    broken = {"name": "broken:latest", "state": "failed", "failure": "it broke"}
    told = msgspec.to_builtins(event("crashed", "the process ended"))
    result = run(monkeypatch, {"models": [busy, broken], "events": [told]}, "ps")
    _, first, second, last = result.stdout.splitlines()
    assert first.split() == ["busy", "ready", "1.0", "MB", "-", "3", "512", "-", "pinned"]
    assert second.split()[:2] == ["broken", "failed"]
    assert last.endswith("m crashed: the process ended")


def test_json_is_what_the_server_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = json.loads(msgspec.json.encode(msgspec.structs.replace(PLAN, last_events=(event(),))))
    printed = json.loads(run(monkeypatch, plan, "explain", "m", "--json").stdout)
    assert printed == plan
    loaded = json.loads(run(monkeypatch, {"models": [{"name": "m"}]}, "ps", "--json").stdout)
    assert msgspec.convert(loaded, Residents).models[0].name == "m"
