"""`python -m bench.documents FILE [--scan N] [FIELD=VALUE ...]`: a document through `POST /api/documents`.

One request to a fresh server on its defaults, streamed as NDJSON; fields are those of the route. Prints the
time of the whole and of the first page, the mean of each stage, the ways, the classifier's answers and the
tables, what failed, and the memory of the server and its children while it ran.

--scan N: then N of its LOW pages, spread over the document, once more as a scanner would leave them: pictures
of 150 dpi in a PDF without text. What OCR makes of them is compared with what the text layer said.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pypdfium2
from PIL import Image

from bench import processes
from bench.ocr import distance, normalised

PATIENCE_S = 600
SCAN_DPI = 150
_LEADERS = re.compile(r"(?:\s*[.…·]){4,}\s*")
LOOK_EVERY_PAGES = 20


def pages(port: int, file: bytes, fields: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yields the pages as they come. Raises: SystemExit for any status but 200."""
    form: dict[str, Any] = {"files": {"file": file}, "data": {**fields, "stream": "true"}}
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


def scan_of(file: bytes, indices: list[int]) -> bytes:
    """Returns a PDF of pictures of these pages, from 0."""
    document = pypdfium2.PdfDocument(file)
    pictures: list[Image.Image] = [document[n].render(scale=SCAN_DPI / 72).to_pil() for n in indices]
    scan = io.BytesIO()
    pictures[0].save(scan, "PDF", resolution=SCAN_DPI, save_all=True, append_images=pictures[1:])
    return scan.getvalue()


def compare(file: bytes, texts: dict[int, str], n_pages: int, fields: dict[str, str]) -> dict[str, Any]:
    """Returns how far OCR of a scan is from the text layers, which stand by page, from 0."""
    chosen = sorted(texts)[:: max(1, len(texts) // n_pages)][:n_pages]
    found = measure(scan_of(file, chosen), {**fields, "pages": ""})
    pairs = [
        (_plain(texts[n]), _plain(found["texts"][at])) for at, n in enumerate(chosen) if at in found["texts"]
    ]
    n_wrong = sum(distance(layer, read) for layer, read in pairs)
    rate = n_wrong / sum(len(layer) for layer, _ in pairs)
    return {"character_error_rate": round(rate, 4), "compared": len(pairs)} | _figures(found)


def measure(file: bytes, fields: dict[str, str]) -> dict[str, Any]:
    """Returns the figures of one document, and the texts of LOW pages by page, from 0."""
    times: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    texts: dict[int, str] = {}
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
            judged = (page["route"] or {}).get("classifier")
            label = judged["class_name"] if judged else "none"
            labels[label] += 1
            if label == "LOW" and page["text"]:
                texts[page["page"] - 1] = page["text"]
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
        "labels": dict(labels),
        "errors": dict(errors),
        "ms_per_page": {stage: round(ms / n_pages, 1) for stage, ms in times.items()},
        "server_grew_mb": [round(server_mb - idle_mb, 1) for server_mb, _ in looks],
        "children_mb": [round(children_mb, 1) for _, children_mb in looks],
        "texts": texts,
    }


def _plain(text: str) -> str:
    """Returns the text without the dots that lead to a page's number, which nobody counts."""
    return _LEADERS.sub(" ", normalised(text))


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "texts"}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.documents", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE")
    parser.add_argument("--scan", type=int, default=0, metavar="N")
    given = parser.parse_args()
    fields = dict(each.split("=", 1) for each in given.fields)
    file = given.file.read_bytes()
    found = measure(file, fields)
    figures = {"document": _figures(found)}
    if given.scan:
        figures["scan"] = compare(file, found["texts"], given.scan, fields)
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())


if __name__ == "__main__":
    main()
