"""`python -m bench [--quick] [section ...]`: runs the sections, writes results, plots and docs.

Exits 1 when a section that puts the server under stress, or compares what it hears, found something wrong.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from typing import Any

from bench import machine

SECTIONS = ("http", "start", "kernel", "servers")
COMPARED = ("encoders",)  # only when named: with servers that want environments of their own
STRESS = ("lanes", "overload", "pressure", "soak")  # only when named: half an hour and more
SPEECH = (
    "word_errors",
    "long_files",
    "openai_whisper",
)  # only when named: they fetch real weights and speech
WRITING = ("generation",)  # only when named: it fetches real weights
TIMED = ("pressure", "soak")  # run for as long as `--minutes` says


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = (*SECTIONS, *COMPARED, *STRESS, *SPEECH, *WRITING)
    named = ", ".join(known)
    parser.add_argument("sections", nargs="*", help=f"any of {named}; none: {', '.join(SECTIONS)}")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: seconds, no figures to quote, no files"
    )
    parser.add_argument("--minutes", type=float, help=f"how long {' and '.join(TIMED)} run")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(known)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    problems: list[str] = []
    for name in arguments.sections or SECTIONS:
        options = {"minutes": arguments.minutes} if arguments.minutes and name in TIMED else {}
        problems += _run(name, arguments.quick, options)
    if not arguments.quick:
        importlib.import_module("bench.docs").rewrite()
    if problems:
        raise SystemExit("\n".join(problems))


def _run(name: str, is_quick: bool, options: dict[str, float]) -> list[str]:
    """Returns what the section found wrong."""
    begin = time.perf_counter()
    facts = machine.facts() | {"others_share_before": round(machine.wait_until_quiet(), 3)}
    found = importlib.import_module(f"bench.{name}").measure(is_quick, **options)
    result: dict[str, Any] = {"section": name, "machine": facts, **found}
    result["took_s"] = round(time.perf_counter() - begin, 1)
    importlib.import_module("bench.tables").show(result)
    if not is_quick:
        machine.RESULTS.mkdir(exist_ok=True)
        path = machine.RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        importlib.import_module("bench.plots").draw(result)
    return [f"{name}: {problem}" for problem in result.get("problems", ())]


if __name__ == "__main__":
    main()
