"""Quality of small models on the sets of `bench.retrieval_sets`, run by reference libraries or by a server.

`python -m bench.retrieval_quality SETS --minilm FOLDER --int8 model.onnx [--static NAME=FOLDER ...]` writes
`bench/results/retrieval.json` and `.png` and prints the tables. Needs the extras `sentence` and `onnx`.
With `--served MODEL` or `--served MODEL+RERANKER` the server that runs on this machine is asked instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import machine
from bench.picture import save
from bench.retrieval_sets import SOURCES
from turbov2.cli.eval import make_embedder, make_reranker
from turbov2.recipes.compare import static_encoder
from turbov2.recipes.evaluate import embed_all
from turbov2.recipes.metrics import DEPTH, Values, estimate, rank, score_rankings, unit_rows
from turbov2.recipes.picture import make_figure, plot_quality
from turbov2.recipes.retrieval import RetrievalSet, read_set
from turbov2.settings import load_settings

RERANKED = 50  # documents a query that MaxSim reads
MAX_TOKENS = 256  # what MiniLM was trained to read
BATCH = 32
Floats = NDArray[np.float32]
Rankings = Sequence[Sequence[int]] | NDArray[np.int64]
System = Callable[[RetrievalSet], dict[str, Rankings]]  # a name → its rankings


def static_system(name: str, folder: Path) -> System:
    """Returns a static model as the server runs it."""
    encode = static_encoder(folder)
    return lambda data: {name: rank(encode(data.queries) @ encode(data.documents).T, DEPTH)}


def minilm_system(folder: Path) -> System:
    """Returns MiniLM in float32, alone and with what it found reordered by MaxSim over its tokens."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = MAX_TOKENS

    def encode(texts: Sequence[str]) -> list[Floats]:
        found = model.encode(list(texts), batch_size=BATCH, output_value="token_embeddings")
        return [each.numpy() for each in found]

    def system(data: RetrievalSet) -> dict[str, Rankings]:
        documents, queries = encode(data.documents), encode(data.queries)
        pooled = [unit_rows(np.stack([each.mean(axis=0) for each in side])) for side in (queries, documents)]
        rankings = rank(pooled[0] @ pooled[1].T, RERANKED)
        units = [unit_rows(each) for each in documents]
        reordered = [
            _by_maxsim(unit_rows(query), row, units) for query, row in zip(queries, rankings, strict=True)
        ]
        return {"MiniLM fp32": rankings, "MiniLM fp32 + MaxSim": reordered}

    return system


def _by_maxsim(query: Floats, found: NDArray[np.int64], documents: Sequence[Floats]) -> list[int]:
    """Returns `found` by the sum of each query token's best cosine (Khattab & Zaharia 2020)."""
    scores = [float((query @ documents[each].T).max(axis=1).sum()) for each in found]
    return [int(found[place]) for place in np.argsort(-np.array(scores), kind="stable")]


def int8_system(model: Path, tokenizer: Path) -> System:
    """Returns the INT8 graph in ONNX Runtime, mean-pooled."""
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}
    reader = Tokenizer.from_file(str(tokenizer))
    reader.enable_truncation(MAX_TOKENS)
    reader.enable_padding()

    def encode(texts: Sequence[str]) -> Floats:
        vectors: dict[int, Floats] = {}
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            read = reader.encode_batch([texts[index] for index in batch])
            mask = np.array([each.attention_mask for each in read])
            inputs = {"input_ids": np.array([each.ids for each in read]), "attention_mask": mask}
            inputs["token_type_ids"] = np.zeros_like(mask)
            hidden = session.run(None, {name: inputs[name] for name in names})[0]
            sums = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            vectors |= dict(zip(batch, sums.astype(np.float32), strict=True))
        return unit_rows(np.stack([vectors[index] for index in range(len(texts))]))

    return lambda data: {"MiniLM INT8": rank(encode(data.queries) @ encode(data.documents).T, DEPTH)}


def served_system(model: str, reranker: str) -> System:
    """Returns what a running server answers: a model, and its first documents in a reranker's order."""
    settings = load_settings()
    embed = make_embedder(settings, None, model)
    reorder = make_reranker(settings, None, reranker) if reranker else None

    def system(data: RetrievalSet) -> dict[str, Rankings]:
        documents = embed_all(embed, data.documents, "document", lambda _: None)
        rankings = rank(embed_all(embed, data.queries, "query", lambda _: None) @ documents.T, RERANKED)
        if reorder is None:
            return {model: rankings}
        reordered = [
            [int(found[place]) for place in reorder(query, [data.documents[each] for each in found])]
            for query, found in zip(data.queries, rankings, strict=True)
        ]
        return {model: rankings, f"{model} + {reranker}": reordered}

    return system


def measure(
    systems: Sequence[System], sets: dict[str, RetrievalSet]
) -> dict[str, dict[str, dict[str, Values]]]:
    """Returns system → set → metric → value of every query."""
    found: dict[str, dict[str, dict[str, Values]]] = {}
    for system in systems:
        for name, data in sets.items():
            for contender, rankings in system(data).items():
                found.setdefault(contender, {})[name] = score_rankings(rankings, data.positives)
                print(f"{contender:24} {name:22} {found[contender][name]['nDCG@10'].mean():.3f}", flush=True)
    return found


def pool(by_set: dict[str, dict[str, Values]]) -> dict[str, Values]:
    """Returns the values of all sets' queries together, each searched in its own set."""
    metrics = next(iter(by_set.values()))
    return {metric: np.concatenate([values[metric] for values in by_set.values()]) for metric in metrics}


def summarise(found: dict[str, dict[str, dict[str, Values]]], baseline: str) -> dict[str, Any]:
    """Returns estimates of everything, and of each system minus the baseline, query by query."""
    pooled = {name: pool(by_set) for name, by_set in found.items()}
    return {
        "all": {name: {m: estimate(v) for m, v in values.items()} for name, values in pooled.items()},
        "difference": {
            name: {m: estimate(v - pooled[baseline][m]) for m, v in values.items()}
            for name, values in pooled.items()
            if name != baseline
        },
        "sets": {
            name: {each: {m: estimate(v) for m, v in values.items()} for each, values in by_set.items()}
            for name, by_set in found.items()
        },
    }


def tables(summary: dict[str, Any], baseline: str) -> str:
    """Returns the summary as two Markdown tables."""
    metrics = list(summary["all"][baseline])
    lines = [f"| | {' | '.join(metrics)} | nDCG@10 - {baseline} |", "|---" * (len(metrics) + 2) + "|"]
    for name, values in summary["all"].items():
        change = summary["difference"].get(name, {}).get("nDCG@10", "")
        lines.append(f"| {name} | {' | '.join(str(values[each]) for each in metrics)} | {change} |")
    names = list(summary["sets"][baseline])
    lines += ["", f"| nDCG@10 | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, by_set in summary["sets"].items():
        lines.append(f"| {name} | {' | '.join(str(by_set[each]['nDCG@10']) for each in names)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and stores."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval_quality", description=__doc__)
    parser.add_argument("sets", type=Path, help="folder that bench.retrieval_sets wrote")
    parser.add_argument("--minilm", type=Path, help="Sentence-Transformers folder of all-MiniLM-L6-v2")
    parser.add_argument("--int8", type=Path, help="the same as an INT8 ONNX graph")
    parser.add_argument("--static", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--served", action="append", default=[], metavar="MODEL[+RERANKER]")
    parser.add_argument("--baseline", default="MiniLM fp32")
    parser.add_argument("--name", default="retrieval", help="of the result's files")
    given = parser.parse_args()
    systems = [
        static_system(name, Path(path)) for name, path in (each.split("=", 1) for each in given.static)
    ]
    if given.minilm:
        systems.append(minilm_system(given.minilm))
    if given.int8:
        systems.append(int8_system(given.int8, given.minilm / "tokenizer.json"))
    systems += [served_system(model, other) for model, _, other in (n.partition("+") for n in given.served)]
    sets = {name: read_set(given.sets / f"{name}.jsonl") for name in SOURCES}
    summary = summarise(measure(systems, sets), given.baseline)
    result = {
        "section": given.name,
        "machine": machine.facts(),
        "queries": {n: len(d.queries) for n, d in sets.items()},
    }
    text = msgspec.json.format(msgspec.json.encode(result | summary), indent=1)
    (machine.RESULTS / f"{given.name}.json").write_bytes(text + b"\n")
    figure = make_figure(9, 4.4)
    n_queries = sum(result["queries"].values())
    plot_quality(
        figure.subplots(), summary["all"], f"{n_queries:,} queries of {len(sets)} sets; lines: 95 % interval"
    )
    save(figure, given.name)
    print(json.dumps(result["queries"]), tables(summary, given.baseline), sep="\n")


if __name__ == "__main__":
    main()
