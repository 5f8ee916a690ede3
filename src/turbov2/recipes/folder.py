"""A new model folder: nothing of it is seen until it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from numpy.typing import NDArray

_SPARE_BYTES = 16_000_000  # for the texts and pictures beside the weights


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place `out` at the end; after an error nothing is left of it.

    Raises: OSError when `out` is there and not empty, or its parent cannot be written.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            errno.EEXIST, "this exists already; choose a folder that is new or empty", str(out)
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")  # a sibling, so that renaming is atomic
    draft.mkdir()
    try:
        yield draft
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_disk(folder: Path, need_bytes: int) -> None:
    """Returns if there is room for so many bytes more. Raises: OSError."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < need_bytes + _SPARE_BYTES:
        need_mb, free_mb = (need_bytes + _SPARE_BYTES) // 10**6, free_bytes // 10**6
        complaint = f"the model takes {need_mb} MB of disk and {free_mb} MB are free"
        raise OSError(errno.ENOSPC, complaint, str(folder.parent))


def write_model(folder: Path, table: NDArray[Any], tokenizer: bytes, config: Mapping[str, Any]) -> None:
    """Afterwards the folder holds a static model that Model2Vec and Sentence Transformers read as well."""
    from safetensors.numpy import save

    (folder / "model.safetensors").write_bytes(save({"embeddings": table}))
    (folder / "tokenizer.json").write_bytes(tokenizer)
    (folder / "config.json").write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))
    kinds = {".": "StaticEmbedding", "1_Normalize": "Normalize"}
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_bytes(orjson.dumps(modules, option=orjson.OPT_INDENT_2))
