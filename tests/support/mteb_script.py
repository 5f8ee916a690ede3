"""`python -m tests.support.mteb_script URL MODEL FILE`: a retrieval set as MTEB's task, beside our metrics.

Prints nDCG@10 as we reckon it and as MTEB's runner does, through the same server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from mteb import TaskMetadata
from mteb.abstasks import AbsTaskRetrieval

from turbov2.cli.eval import make_embedder
from turbov2.recipes.evaluate import evaluate
from turbov2.recipes.mteb_tasks import run_tasks
from turbov2.recipes.retrieval import RetrievalSet, read_set
from turbov2.settings import load_settings


class SetTask(AbsTaskRetrieval):
    """A retrieval set of ours as MTEB holds one."""

    metadata = TaskMetadata(
        name="OurSet",
        description="A retrieval set in a file.",
        dataset={"path": "none/none", "revision": "1"},
        type="Retrieval",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def __init__(self, data: RetrievalSet) -> None:
        super().__init__()
        self._data = data

    def load_data(self, **_: Any) -> None:
        """The set stands where MTEB's runner looks."""
        corpus = {
            "id": [f"d{n}" for n in range(len(self._data.documents))],
            "text": list(self._data.documents),
        }
        queries = {"id": [f"q{n}" for n in range(len(self._data.queries))], "text": list(self._data.queries)}
        right = {f"q{n}": {f"d{d}": 1 for d in wanted} for n, wanted in enumerate(self._data.positives)}
        split = {
            "corpus": Dataset.from_dict(corpus | {"title": [""] * len(self._data.documents)}),
            "queries": Dataset.from_dict(queries),
            "relevant_docs": right,
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def main() -> None:
    """Prints both figures."""
    url, model, path = sys.argv[1:]
    data = read_set(Path(path))
    embed = make_embedder(load_settings(), url, model)
    ours = evaluate(data, embed, None, 10, lambda *_: None).quality["nDCG@10"].mean
    theirs = run_tasks(model, [SetTask(data)], embed, lambda *_: None)[0].score
    print(ours, theirs)


if __name__ == "__main__":
    main()
