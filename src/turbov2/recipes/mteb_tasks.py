"""Tasks of the MTEB package, run on any embedder that can be called: one that a server serves, for example.

The `mteb` package is not a dependency: it is used where it is installed, and its tasks where their data lie
in the cache of Hugging Face datasets or can be fetched into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from mteb import evaluate, get_tasks
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from turbov2.errors import InvalidRequest
from turbov2.recipes.evaluate import EMBED_TEXTS, Embed, OnProgress

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix, InputType


class TaskScore(msgspec.Struct, frozen=True):
    """What MTEB says of a model on one task."""

    task: str
    metric: str
    """The task's own main metric, such as `ndcg_at_10`."""
    score: float
    """Mean over the task's splits and subsets."""
    mteb_version: str
    dataset_revision: str


class CallableEncoder(AbsEncoder):  # type: ignore[misc]  # mteb may be absent, and has no types then
    """An embedder as MTEB wants one. Similarity is the cosine."""

    def __init__(self, model: str, embed: Embed, on_progress: OnProgress) -> None:
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": f"turbov2/{model}", "revision": "served", "similarity_fn_name": ScoringFunction.COSINE}
        )
        self._embed = embed
        self._on_progress = on_progress
        self._n_done = 0

    def encode(
        self, inputs: Iterable[dict[str, Any]], *, prompt_type: PromptType | None = None, **_: object
    ) -> FloatMatrix:
        """Returns `[n, d]` float32 of all texts of these batches; queries are sent as queries."""
        texts = [text for batch in inputs for text in batch["text"]]
        kind: InputType = "query" if prompt_type == PromptType.query else "document"
        n_known = self._n_done + len(texts)  # of texts; how many more a task will bring is not told
        parts = []
        for start in range(0, len(texts), EMBED_TEXTS):
            parts.append(self._embed(texts[start : start + EMBED_TEXTS], kind))
            self._n_done += len(parts[-1])
            self._on_progress(self._n_done, n_known)
        return np.concatenate(parts)


def find_tasks(names: Sequence[str]) -> list[Any]:
    """Returns MTEB's tasks of these names. Raises: InvalidRequest for an unknown one, or one not on texts."""
    try:
        tasks = list(get_tasks(tasks=list(names)))
    except KeyError as error:
        raise InvalidRequest(
            f"MTEB knows no such task: {', '.join(names)}; mteb.get_tasks() lists them"
        ) from error
    for task in tasks:
        if task.modalities != ["text"]:
            raise InvalidRequest(f"'{task.metadata.name}' is not a task on texts alone")
    return tasks


def run_tasks(model: str, tasks: Iterable[Any], embed: Embed, on_progress: OnProgress) -> list[TaskScore]:
    """Returns the score of each task.

    Raises: InvalidRequest for a task whose data cannot be had; whatever `embed` raises.
    """
    encoder = CallableEncoder(model, embed, on_progress)
    scores = []
    for task in tasks:
        _load(task)
        result = evaluate(encoder, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results[
            0
        ]
        scores.append(
            TaskScore(
                result.task_name,
                task.metadata.main_score,
                float(result.get_score()),
                str(result.mteb_version),
                result.dataset_revision,
            )
        )
    return scores


def _load(task: Any) -> None:
    try:
        task.load_data()
    except OSError as error:  # a hub that cannot be reached, a data set that is not there
        raise InvalidRequest(
            f"the data of '{task.metadata.name}' are not in the cache of Hugging Face datasets, nor to be had"
        ) from error
