"""A static model beside its teacher: the same texts, the same process, the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.backends.static import StaticBackend
from turbov2.recipes.metrics import DEPTH, Estimate, estimate, estimates, rank, score_rankings, unit_rows
from turbov2.recipes.retrieval import RetrievalSet
from turbov2.recipes.teacher import OnProgress, transformer_folder
from turbov2.types import LoadSpec

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

_BATCH_TEXTS = 64
_WARM_TEXTS = 8
Encode = Callable[[Sequence[str]], "FloatMatrix"]


class Side(msgspec.Struct, frozen=True):
    """What was measured of one of the two."""

    quality: dict[str, Estimate]
    texts_per_s: float
    size_bytes: int


class Comparison(msgspec.Struct, frozen=True):
    """Both on one retrieval set. `cosines`: `[2, n_queries * n_documents]`, first the teacher's."""

    n_documents: int
    n_queries: int
    teacher: Side
    student: Side
    difference: dict[str, Estimate]  # student - teacher, over the same queries
    spearman: float  # between the cosines of all pairs of query and document
    cosines: NDArray[np.float32]


def compare(teacher: Path, student: Path, data: RetrievalSet, on_progress: OnProgress) -> Comparison:
    """Returns how the static model in `student` does beside its teacher, whose texts are counted."""
    from scipy.stats import spearmanr

    n_texts = len(data.documents) + len(data.queries)
    read = _teacher_encoder(teacher)
    documents, texts_per_s = _timed(read, data.documents, lambda done: on_progress(done, n_texts))
    offset = len(data.documents)
    queries, _ = _timed(read, data.queries, lambda done: on_progress(offset + done, n_texts))
    look_up = static_encoder(student)
    _timed(look_up, data.documents)  # a first pass widens rows and remembers words, as a running server has
    student_documents, student_texts_per_s = _timed(look_up, data.documents)
    cosines = [queries @ documents.T, look_up(data.queries) @ student_documents.T]
    scored = [score_rankings(rank(each, DEPTH), data.positives) for each in cosines]
    return Comparison(
        n_documents=len(data.documents),
        n_queries=len(data.queries),
        teacher=Side(estimates(scored[0]), texts_per_s, _weights_bytes(transformer_folder(teacher))),
        student=Side(estimates(scored[1]), student_texts_per_s, _weights_bytes(student)),
        difference={name: estimate(scored[1][name] - scored[0][name]) for name in scored[0]},
        spearman=float(spearmanr(cosines[0].ravel(), cosines[1].ravel()).statistic),
        cosines=np.stack([each.ravel() for each in cosines]),
    )


def _teacher_encoder(folder: Path) -> Encode:
    """Returns the teacher as Sentence Transformers runs it: with its own pooling, normalised."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def encode(texts: Sequence[str]) -> FloatMatrix:
        vectors: FloatMatrix = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return vectors

    return encode


def static_encoder(folder: Path) -> Encode:
    """Returns the static model as this server runs it, normalised."""
    files = {name: str(folder / name) for name in ("model.safetensors", "tokenizer.json")}
    backend = StaticBackend(LoadSpec(model=folder.name, backend="static", files=files, revision=""))

    def encode(texts: Sequence[str]) -> FloatMatrix:
        vectors = backend.embed(backend.tokenize(texts)).dense
        assert vectors is not None, "dense vectors were asked for. This is a bug."
        return unit_rows(vectors)

    return encode


def _timed(
    encode: Encode, texts: Sequence[str], on_done: Callable[[int], None] = lambda done: None
) -> tuple[FloatMatrix, float]:
    """Returns the texts' vectors and texts per second."""
    encode(texts[:_WARM_TEXTS])
    started_s = time.perf_counter()
    vectors = []
    for start in range(0, len(texts), _BATCH_TEXTS):
        vectors.append(encode(texts[start : start + _BATCH_TEXTS]))
        on_done(min(start + _BATCH_TEXTS, len(texts)))
    return np.concatenate(vectors), len(texts) / (time.perf_counter() - started_s)


def _weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
