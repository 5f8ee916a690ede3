"""Section `pressure`: measured memory against the budget, while four models share room for two."""

from __future__ import annotations

import http.client
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench import client, traffic, usage
from bench.fleet import WORDLLAMA_PROCESS, Encoder, serving
from bench.processes import Server
from bench.sampler import sampling

SEED = 20_26
_MB = 1_000_000
_SAMPLE_EVERY_S = 0.05
_N_CLIENTS = 16
_BUDGET_MB = 560  # torch's and the float32 graph's process; all four take 700
# A load may pass its estimate by what a batch takes; the engine keeps so much of the machine free beside
# the budget: 5 % of it, at least 64 MB (design/engine.md, section 3).
_HEAD_ROOM_MB = max(64, 0.05 * _BUDGET_MB)
ENCODERS = (
    Encoder("minilm-torch", "torch", priority="high"),
    Encoder("minilm-onnx", "onnx", keep_alive="15s"),
    Encoder("minilm-int8", "int8", priority="low"),
)
MODELS = (WORDLLAMA_PROCESS, *(each.name for each in ENCODERS))
SHARES = {
    "one text": 0.5,
    "a batch": 0.26,
    "client leaves": 0.12,
    "keep_alive 0": 0.01,
    "unload": 0.01,
    "unknown model": 0.05,
    "list": 0.05,
}


def measure(is_quick: bool, minutes: float = 10) -> dict[str, Any]:
    """Returns everything the section measures."""
    seconds = 8 if is_quick else minutes * 60
    with serving(ENCODERS, PRELOAD="none", HOST_BUDGET=f"{_BUDGET_MB * _MB}") as server:
        truth = client.run(traffic.learn(server.port, MODELS))
        mix = traffic.Mix(MODELS, SHARES, SEED)
        with sampling(server, _SAMPLE_EVERY_S) as samples:
            sent = traffic.send(server.port, mix, truth, seconds=seconds, n_clients=_N_CLIENTS)
            ledger = client.run(sent).to_result()
        told = counters(server)
    memory = _memory(samples.taken)
    found = {"seconds": seconds, "ledger": ledger, "server_counts": told, "memory": memory}
    return found | {"problems": problems_of(ledger, told) + _above(memory)}


def _memory(samples: list[usage.Sample]) -> dict[str, Any]:
    owners = usage.model_of_pid(samples)
    lives = usage.lives(samples, owners)
    return {
        "budget_mb": _BUDGET_MB,
        "head_room_mb": _HEAD_ROOM_MB,
        "max_mb": round(max(map(usage.models_bytes, samples)) / _MB, 1),
        "s_above_budget": usage.seconds_above(samples, _BUDGET_MB * _MB),
        "s_above_head_room": usage.seconds_above(samples, (_BUDGET_MB + _HEAD_ROOM_MB) * _MB),
        "n_samples": len(samples),
        "n_processes": len(lives),
        "n_ended": sum(life["end_s"] is not None for life in lives),
        "lives": lives,
        "curves": usage.curves(samples, owners),
        "peak_minute": usage.curves(usage.peak_minute(samples), owners),
    }


def _above(memory: dict[str, Any]) -> list[str]:
    if not (seconds := memory["s_above_head_room"]):
        return []
    return [f"for {seconds} s the models held more than budget and head-room; at most {memory['max_mb']} MB"]


def problems_of(ledger: dict[str, Any], told: dict[str, float]) -> list[str]:
    """Returns what is wrong with the ledgers: the client's, and the server's own once all has ended."""
    totals, problems = ledger["totals"], []
    if totals["lost"] or totals["wrong"]:
        problems.append(f"{totals['lost']} lost, {totals['wrong']} wrong, e.g. {ledger['examples']}")
    if told["accepted"] != told["ended"] + told["in_flight"]:
        problems.append(f"the server's own ledger does not add up: {told}")
    return problems


def counters(server: Server) -> dict[str, float]:
    """Returns the server's own counts from GET /metrics, summed over their labels."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    names = {
        "turbov2_requests_accepted_total": "accepted",
        "turbov2_requests_ended_total": "ended",
        "turbov2_requests_in_flight": "in_flight",
        "turbov2_loads_total": "loads",
        "turbov2_load_failures_total": "load_failures",
        "turbov2_evictions_total": "evictions",
        "turbov2_crashes_total": "crashes",
    }
    found = dict.fromkeys(names.values(), 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in names:
                found[names[sample.name]] += sample.value
    return found
