"""Results as tables: the same rows for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table as RichTable

from bench import encoder_views, generation_views, speech_views, stress_tables
from bench.table import Result, Table, number, ranged, verdict


def tables_of(result: Result) -> list[Table]:
    """Returns the tables of a section's result."""
    return list(_TABLES[result["section"]](result))


def show(result: Result) -> None:
    """Afterwards the section's tables are on the terminal, with the state of the machine."""
    console = Console(width=132)
    facts = result["machine"]
    for table in tables_of(result):
        rich = RichTable(title=table.title, title_justify="left")
        for place, column in enumerate(table.header):
            rich.add_column(column, justify="left" if place == 0 else "right")
        for row in table.rows:
            rich.add_row(*row)
        console.print(rich)
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, commit {facts['commit']}; "
        f"load average before {facts['load_average_before']}, others used {facts['others_share_before']:.0%} "
        f"of the machine; took {result['took_s']} s"
    )


def _http(result: Result) -> Iterator[Table]:
    header = (
        "texts a request x tokens",
        "compared",
        "ours texts/s",
        "theirs texts/s",
        "ratio (min-max)",
        "target",
        "",
    )
    rows = []
    for scenario in result["scenarios"]:
        speeds = {name: found["texts_per_s"]["median"] for name, found in scenario["contenders"].items()}
        for pair in scenario["ratios"]:
            ours, theirs, target = pair["ours"], pair["theirs"], pair["target"]
            label = f"{ours.removeprefix('turbov2 ')} / {theirs}"
            goal = "" if target is None else f">= {target}"
            rows.append((scenario["name"], label, number(speeds[ours]), number(speeds[theirs]),
                         ranged(pair["ratio"]), goal, verdict(pair["met"])))  # fmt: skip
    yield Table("TurboV2 over HTTP, against model2vec in process and a plain server", header, rows)
    yield _latencies(result)
    yield Table(
        "The texts",
        ("scenario", "mean tokens", "mean characters", "distinct requests", "sent", "new words"),
        [
            (name, str(t["mean_tokens"]), str(t["mean_chars"]), str(t["distinct_requests"]), t["sent"],
             f"{t['new_words']:.1%}")
            for name, t in result["texts"].items()
        ],
    )  # fmt: skip
    yield Table(
        "The load generator, 32 x 16 tokens as JSON, the same server",
        ("generator", "requests/s", "its own CPU, us a request"),
        [
            (name, ranged(found["requests_per_s"]), ranged(found["client_us_per_request"]))
            for name, found in result["generator"].items()
        ],
    )


def _latencies(result: Result) -> Table:
    rows = []
    for scenario in result["scenarios"]:
        for name, found in scenario["contenders"].items():
            if "p50_ms" in found:
                medians = [
                    found[key]["median"] for key in ("requests_per_s", "p50_ms", "p99_ms", "server_cores")
                ]
                others = f"{found['others']['median']:.0%}"
                rows.append((scenario["name"], name, *map(number, medians), others))
    header = (
        "texts a request x tokens",
        "server",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "cores used",
        "others' CPU",
    )
    return Table(
        f"Requests, {result['settings']['connections']} connections that are never idle", header, rows
    )


def _start(result: Result) -> Iterator[Table]:
    targets = {target["name"]: target for target in result["targets"]}
    ready, memory = targets["ready (s)"], targets["idle RSS (MB)"]
    rows = [("command to the first 200 on /readyz, s", ranged(result["ready_s"]), f"< {ready['target']}",
             verdict(ready["met"]))]  # fmt: skip
    rows += [(f"of it: {name}, s", ranged(found), "", "") for name, found in result["steps_s"].items()]
    for stage, found in result["rss_mb"].items():
        is_target = stage == "ready"
        goal = f"< {memory['target']}" if is_target else ""
        rows.append(
            (
                f"resident memory, {stage}, MB",
                ranged(found),
                goal,
                verdict(memory["met"] if is_target else None),
            )
        )
    yield Table(
        "Start and idle memory, default model loaded", ("what", "median (min-max)", "target", ""), rows
    )
    imports = result["slowest_imports"]["packages_own_ms"]
    yield Table(
        "Slowest imports, by package", ("package", "own ms"), [(i["name"], str(i["ms"])) for i in imports]
    )


def _kernel(result: Result) -> Iterator[Table]:
    titles = {
        "embed_us_per_text": "Text to vector in process, us a text",
        "sum_us_per_text": "Adding up the rows, us a text",
        "request_us_per_text": "The steps of one request, us a text",
    }
    for key, title in titles.items():
        columns = list(result[key])
        names = list(result[key][columns[0]])
        rows = [
            (name, *(number(result[key][column][name]["median"]) for column in columns)) for name in names
        ]
        yield Table(title, ("texts x tokens", *columns), rows)


def _servers(result: Result) -> Iterator[Table]:
    rows: list[tuple[str, ...]] = []
    for row in result["servers"]:
        cells = []
        for size in ("1 texts", "32 texts"):
            found = row[size]
            cells += [
                ranged(found["requests_per_s"]),
                *(number(found[k]["median"]) for k in ("p50_ms", "p99_ms")),
            ]
        last = row["32 texts"]
        rows.append((row["name"], *cells, *(number(last[key]["median"]) for key in ("rss_mb", "ready_s"))))
    per_size = ("requests/s", "p50 ms", "p99 ms")
    header = (
        "server",
        *(f"1 text: {k}" for k in per_size),
        *(f"32: {k}" for k in per_size),
        "RSS MB",
        "ready s",
    )
    rows += [(name, "not installed", *[""] * (len(header) - 2)) for name in result["not_installed"]]
    yield Table("The same tiny application on each HTTP server", header, rows)
    ways = result["json_us"].items()
    yield Table(
        "Writing [32, 256] float32",
        ("way", "us", "bytes"),
        [(name, ranged(found), f"{found['bytes']:,}") for name, found in ways],
    )


_TABLES: dict[str, Callable[[Result], Iterator[Table]]] = {
    "http": _http,
    "start": _start,
    "kernel": _kernel,
    "servers": _servers,
    "encoders": encoder_views.tables,
    "lanes": stress_tables.lanes,
    "overload": stress_tables.overload,
    "pressure": stress_tables.pressure,
    "soak": stress_tables.soak,
    "word_errors": speech_views.word_errors_tables,
    "long_files": speech_views.long_files_tables,
    "openai_whisper": speech_views.openai_whisper_tables,
    "generation": generation_views.tables,
}
