"""Distilling: the teacher's vector of every token, reduced to a table. The recipe is Model2Vec's.

Source: MinishLab/model2vec, model2vec/distill/distillation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from turbov2.errors import InvalidRequest
from turbov2.recipes.folder import check_disk, write_model
from turbov2.recipes.reduce import TableDtype, check_sizes, principal_components, to_dtype, zipf_weights
from turbov2.recipes.teacher import OnProgress, Pooling, Teacher
from turbov2.recipes.vocabulary import build_vocabulary

USUAL_DIMENSIONS = 256


class Recipe(msgspec.Struct, frozen=True):
    """How to distil. The defaults are Model2Vec's."""

    dimensions: int | None = None  # None: 256, or all where the teacher has fewer
    pooling: Pooling = "mean"
    sif: float = 1e-4  # 0: tokens are not weighted
    dtype: TableDtype = "float16"
    words: tuple[str, ...] = ()  # get a row each beside the teacher's tokens


class Distilled(msgspec.Struct, frozen=True):
    """What is known of a static model that has just been made."""

    name: str  # its folder's
    teacher: str  # its folder's name
    recipe: Recipe
    n_tokens: int
    dimensions: int
    teacher_dimensions: int
    variance_kept: float  # share, 0..1
    size_bytes: int  # of the weights


def distill(folder: Path, recipe: Recipe, draft: Path, name: str, on_progress: OnProgress) -> Distilled:
    """Returns what was made of the teacher in `folder`; its files are in `draft`.

    Raises: ModelUnavailable, LoadFailed, InvalidRequest; OSError when the disk is too full. All before the
    teacher reads its first token.
    """
    if not 0 <= recipe.sif < 1:
        raise InvalidRequest(f"the SIF coefficient is {recipe.sif:g}; it lies in 0..1, without 1")
    teacher = Teacher(folder)
    dimensions = recipe.dimensions or min(USUAL_DIMENSIONS, teacher.dimensions)
    vocabulary = build_vocabulary(teacher.tokenizer, teacher.padding, recipe.words)
    check_sizes(len(vocabulary.inputs), teacher.dimensions, dimensions)
    size_bytes = len(vocabulary.inputs) * dimensions * np.dtype(recipe.dtype).itemsize
    check_disk(draft, size_bytes + len(vocabulary.tokenizer))

    vectors = teacher.embed_tokens(vocabulary.inputs, recipe.pooling, on_progress)
    table, variance_kept = principal_components(vectors, dimensions)
    table *= zipf_weights(len(table), recipe.sif)[:, None]
    made = Distilled(
        name=name,
        teacher=folder.resolve().name,
        recipe=recipe,
        n_tokens=len(table),
        dimensions=dimensions,
        teacher_dimensions=teacher.dimensions,
        variance_kept=variance_kept,
        size_bytes=size_bytes,
    )
    write_model(draft, to_dtype(table, recipe.dtype), vocabulary.tokenizer, _config(made))
    return made


def _config(made: Distilled) -> dict[str, Any]:
    """Returns config.json as Model2Vec writes it."""
    return {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": made.teacher,
        "apply_pca": made.dimensions,
        "sif_coefficient": made.recipe.sif or None,
        "hidden_dim": made.dimensions,
        "seq_length": 1_000_000,
        "normalize": True,
        "pooling": made.recipe.pooling,
        "max_length": None,  # a table has no limit; without this line Model2Vec cuts at 512 tokens
        "embedding_dtype": made.recipe.dtype,
    }


def read_words(path: Path) -> tuple[str, ...]:
    """Returns the words of a file, one a line. Raises: OSError, InvalidRequest."""
    try:
        lines: Sequence[str] = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidRequest("the vocabulary is not a file of UTF-8 text") from error
    return tuple(word for line in lines if (word := line.strip()))
