"""Section `kernel`: microseconds of each step from text to answer, in process and without HTTP.

Runs in a child process with the bench's environment. Steps are measured in turns, in short slices.
"""

from __future__ import annotations

import sys
from typing import Any

from bench import kernel_parts as parts
from bench import processes
from bench.steps import N_SLICES, SLICE_S, Step, time_steps
from bench.texts import Batches

BATCHES = (1, 32, 512)
LENGTHS = (16, 128)


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    return processes.call("bench.kernel", is_quick)


def _embedding(known: Batches, unseen: Batches, n_texts: int, is_quick: bool) -> dict[str, dict[str, float]]:
    """Returns text → vector, the ways we could go and model2vec's."""
    backend, cold, whole = parts.backends()
    for batch in known:
        backend(batch)
    steps = [
        Step("turbov2, known words", backend, known),
        Step("turbov2, known text, words forgotten", cold.run, known, cold.forget),
        Step("turbov2, unseen words", cold.run, unseen, cold.forget),
        Step("turbov2, whole texts (no word memory)", whole, known),
        Step("tokenizer alone, whole texts", parts.tokenize(), known),
        Step("model2vec float32", parts.model2vec("float32"), known),
        Step("model2vec float16", parts.model2vec("float16"), known),
    ]
    return time_steps(steps, n_texts, is_quick)


def _summing(known: Batches, n_texts: int, is_quick: bool) -> dict[str, dict[str, float]]:
    """Returns ids → sums, three ways with equal results."""
    arrays = parts.id_arrays(known)
    ways = parts.sums()
    steps = [Step(name, run, arrays) for name, run in ways.items()]
    return time_steps(steps, n_texts, is_quick)


def _request(known: Batches, n_texts: int, is_quick: bool) -> dict[str, dict[str, float]]:
    """Returns the steps of one POST /api/embed, and the whole application called without a socket."""
    hops = parts.hops(known)
    steps = [Step(name, run, inputs) for name, (run, inputs) in hops.items()]
    found = time_steps([*steps, *parts.application(known)], n_texts, is_quick)
    nothing_us = found.pop("nothing")["median"]
    whole = found.pop("application")
    found["application, no socket"] = {key: round(value - nothing_us, 3) for key, value in whole.items()}
    return found


def main() -> None:
    """Prints the section's findings as JSON."""
    is_quick = "--quick" in sys.argv
    found: dict[str, Any] = {"embed_us_per_text": {}, "sum_us_per_text": {}, "request_us_per_text": {}}
    for n_tokens in LENGTHS:
        for n_texts in BATCHES:
            known, unseen = parts.workloads(n_tokens, n_texts)
            name = f"{n_texts} x {n_tokens}"
            found["embed_us_per_text"][name] = _embedding(known, unseen, n_texts, is_quick)
            found["sum_us_per_text"][name] = _summing(known, n_texts, is_quick)
            found["request_us_per_text"][name] = _request(known, n_texts, is_quick)
    settings = {"slices": N_SLICES, "slice_s": SLICE_S, "embed": "text to mean vector, before normalising"}
    processes.answer({"settings": settings, **found})


if __name__ == "__main__":
    main()
