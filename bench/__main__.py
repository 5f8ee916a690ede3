"""`python -m bench [--quick] [section ...]`: runs the sections, writes results, plots and docs."""

from __future__ import annotations

import argparse
import importlib
import json
import time
from typing import Any

from bench import machine

SECTIONS = ("http", "start", "kernel", "servers")


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"any of {', '.join(SECTIONS)}; none: all")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: seconds, no figures to quote, no files"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    for name in arguments.sections or SECTIONS:
        _run(name, arguments.quick)
    if not arguments.quick:
        importlib.import_module("bench.docs").rewrite()


def _run(name: str, is_quick: bool) -> None:
    begin = time.perf_counter()
    facts = machine.facts() | {"others_share_before": round(machine.wait_until_quiet(), 3)}
    found = importlib.import_module(f"bench.{name}").measure(is_quick)
    result: dict[str, Any] = {"section": name, "machine": facts, **found}
    result["took_s"] = round(time.perf_counter() - begin, 1)
    importlib.import_module("bench.tables").show(result)
    if not is_quick:
        machine.RESULTS.mkdir(exist_ok=True)
        path = machine.RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        importlib.import_module("bench.plots").draw(result)


if __name__ == "__main__":
    main()
