"""`turbov2 eval`: retrieval quality of what a running server serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from turbov2.cli._boundary import MISUSED, CliError
from turbov2.cli.embed import Vectors
from turbov2.cli.ps import URL_DEFAULT, URL_HELP

if TYPE_CHECKING:
    from turbov2.recipes.evaluate import Embed, Evaluation, Rerank
    from turbov2.settings import Settings
    from turbov2.types.embed import FloatMatrix, InputType


class Ranked(msgspec.Struct):
    """One result of a reranking."""

    index: int
    relevance_score: float


class Ranking(msgspec.Struct):
    """The answer to POST /api/rerank."""

    results: list[Ranked]


def evaluate(
    model: Annotated[str, typer.Argument(help="Name or alias of an embedding model.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Retrieval set: documents, queries, answers, as JSONL."),
    ] = None,
    mteb: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="Task of the mteb package instead; may be repeated."),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(metavar="NAME", help="Reranker that puts what was found into a new order.")
    ] = None,
    depth: Annotated[
        int,
        typer.Option(min=10, max=1000, metavar="K", help="How many documents a query the reranker reads."),
    ] = 50,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the result into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    url: Annotated[str | None, typer.Option(metavar="URL", help=f"{URL_HELP}  {URL_DEFAULT}")] = None,
) -> None:
    """Measure how well a served model finds what answers a query: nDCG@10, recall and MRR.

    docs/evaluation.md describes the file and the metrics. The first key of EMBEDDINGS_API_KEY is sent along.
    """
    from turbov2.settings import load_settings

    settings = load_settings()
    if data is not None and not mteb:
        _evaluate_set(settings, url, model, data, rerank, depth, plot, as_json)
    elif mteb and data is None and rerank is None and plot is None:
        _evaluate_tasks(settings, url, model, mteb, as_json)
    else:
        raise CliError(
            "give either --data FILE or --mteb TASK", "--rerank and --plot go with --data", exit_code=MISUSED
        )


def _evaluate_set(
    settings: Settings,
    url: str | None,
    model: str,
    data: Path,
    rerank: str | None,
    depth: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    from turbov2.cli._console import print_json
    from turbov2.cli._progress import CountDisplay
    from turbov2.recipes.evaluate import evaluate as run
    from turbov2.recipes.retrieval import read_set

    wanted = read_set(data)
    reranker = make_reranker(settings, url, rerank) if rerank else None
    with CountDisplay("asking", "texts") as display:
        found = run(wanted, make_embedder(settings, url, model), reranker, depth, display.step)
    if plot is not None:
        _draw(plot, found, model, rerank)
    if as_json:
        print_json({"model": model, "reranker": rerank, "depth": depth if rerank else None, "result": found})
    else:
        _print_table(found, model, rerank)


def _evaluate_tasks(
    settings: Settings, url: str | None, model: str, names: Sequence[str], as_json: bool
) -> None:
    from turbov2.cli._console import make_table, print_json, print_note, print_table
    from turbov2.cli._progress import CountDisplay

    try:
        from turbov2.recipes.mteb_tasks import find_tasks, run_tasks
    except ModuleNotFoundError as error:
        raise CliError("--mteb needs a package that is not installed", "pip install mteb") from error
    tasks = find_tasks(names)
    with CountDisplay("asking", "texts") as display:
        scores = run_tasks(model, tasks, make_embedder(settings, url, model), display.step)
    if as_json:
        print_json({"model": model, "tasks": scores})
        return
    table = make_table("TASK", "METRIC", model)
    for each in scores:
        table.add_row(each.task, each.metric, f"{each.score:.4f}")
    print_table(table)
    print_note(f"mteb {scores[0].mteb_version}; through the server, queries sent as queries")


def make_embedder(settings: Settings, url: str | None, model: str) -> Embed:
    """Returns a function that asks a running server for vectors. It raises CliError."""
    import numpy as np

    from turbov2.cli._client import ask

    def embed(texts: Sequence[str], input_type: InputType) -> FloatMatrix:
        body = {"model": model, "input": texts, "input_type": input_type}
        answer = ask(settings, url, "/api/embed", Vectors, body, settings.load_timeout_s)
        if len(answer.embeddings) != len(texts) or len(set(map(len, answer.embeddings))) != 1:
            raise CliError("the server did not answer with one vector a text")
        return np.asarray(answer.embeddings, np.float32)

    return embed


def make_reranker(settings: Settings, url: str | None, model: str) -> Rerank:
    """Returns a function that asks a running server for an order. It raises CliError."""
    from turbov2.cli._client import ask

    def rerank(query: str, documents: Sequence[str]) -> Sequence[int]:
        body = {"model": model, "query": query, "documents": documents, "top_k": len(documents)}
        answer = ask(settings, url, "/api/rerank", Ranking, body, settings.load_timeout_s)
        best_first = sorted(answer.results, key=lambda result: -result.relevance_score)
        order = [result.index for result in best_first]
        if sorted(order) != list(range(len(documents))):
            raise CliError("the server did not answer with one score a document")
        return order

    return rerank


def _print_table(found: Evaluation, model: str, reranker: str | None) -> None:
    from turbov2.cli._console import make_table, print_note, print_table

    headers = ["METRIC", model]
    columns = [found.quality]
    if reranker:
        headers += [f"+ {reranker}", "GAIN"]
        columns += [found.reranked, found.gain]
    table = make_table(*headers)
    for metric in found.quality:
        table.add_row(metric, *(str(column[metric]) for column in columns))
    print_table(table)
    print_note(
        f"{found.n_queries:,} queries over {found.n_documents:,} documents; in brackets the 95 % interval"
    )


def _draw(path: Path, found: Evaluation, model: str, reranker: str | None) -> None:
    from turbov2.recipes.picture import draw_quality

    sides = {model: found.quality} | ({f"{model} + {reranker}": found.reranked} if reranker else {})
    title = f"{found.n_queries:,} queries over {found.n_documents:,} documents; lines: 95 % interval"
    draw_quality(path, sides, title)
