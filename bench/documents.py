"""`python -m bench.documents FILE [FIELD=VALUE ...]`: a document through `POST /api/documents`, page by page.

One request to a fresh server on its defaults, streamed as NDJSON; fields are those of the route. Prints the
time of the whole and of the first page, the mean of each stage, the ways and tables, what failed, and the
memory of the server and its children while it ran.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from bench import processes

PATIENCE_S = 600
LOOK_EVERY_PAGES = 20


def pages(port: int, file: Path, fields: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yields the pages as they come. Raises: SystemExit for any status but 200."""
    form: dict[str, Any] = {"files": {"file": file.read_bytes()}, "data": {**fields, "stream": "true"}}
    url = f"http://127.0.0.1:{port}/api/documents"
    with httpx.stream("POST", url, timeout=PATIENCE_S, **form) as answer:
        if answer.status_code != 200:
            raise SystemExit(f"the server answered {answer.status_code}: {answer.read()[:300]!r}")
        for line in answer.iter_lines():
            page = json.loads(line)
            if "page" in page:
                yield page


def memory_mb(process: psutil.Process) -> tuple[float, float]:
    """Returns the resident memory of the server and of its children."""
    children = process.children(recursive=True)
    return process.memory_info().rss / 1e6, sum(child.memory_info().rss for child in children) / 1e6


def measure(file: Path, fields: dict[str, str]) -> dict[str, Any]:
    """Returns the figures of one document."""
    times: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    looks = []
    n_pages = n_tables = n_chars = 0
    first_s = 0.0
    with processes.turbov2() as server:
        idle_mb, _ = memory_mb(server.process)
        began_s = time.perf_counter()
        for page in pages(server.port, file, fields):
            first_s = first_s or time.perf_counter() - began_s
            n_pages += 1
            n_tables += len(page["tables"])
            n_chars += len(page["text"])
            times.update(page["times_ms"])
            ways[page["route"]["way"] if page["route"] else "none"] += 1
            errors.update([page["error"]["message"]] if page["error"] else [])
            if n_pages % LOOK_EVERY_PAGES == 1:
                looks.append(memory_mb(server.process))
        whole_s = time.perf_counter() - began_s
    return {
        "pages": n_pages,
        "characters": n_chars,
        "tables": n_tables,
        "seconds": round(whole_s, 2),
        "first_page_seconds": round(first_s, 2),
        "pages_per_second": round(n_pages / whole_s, 1),
        "ways": dict(ways),
        "errors": dict(errors),
        "ms_per_page": {stage: round(ms / n_pages, 1) for stage, ms in times.items()},
        "server_grew_mb": [round(server_mb - idle_mb, 1) for server_mb, _ in looks],
        "children_mb": [round(children_mb, 1) for _, children_mb in looks],
    }


def main() -> None:
    """Prints the figures as JSON."""
    if len(sys.argv) < 2 or not all("=" in each for each in sys.argv[2:]):
        raise SystemExit(__doc__)
    fields = dict(each.split("=", 1) for each in sys.argv[2:])
    figures = measure(Path(sys.argv[1]), fields)
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())


if __name__ == "__main__":
    main()
