"""GET /info: what the default embedding model is, as text-embeddings-inference tells of its one model."""

from __future__ import annotations

import os
from typing import Any

import turbov2
from turbov2.types import ModelStatus
from turbov2.wire._http import Limits


def info(model: ModelStatus, limits: Limits) -> dict[str, Any]:
    """Returns the fields; where we have no such limit, the limit that holds in its place."""
    return {
        "model_id": model.name,
        "model_sha": model.revision or None,
        "model_dtype": model.dtype or "float32",
        "served_model_name": model.name,
        "model_type": {"embedding": {"pooling": model.pooling or "mean"}},
        "max_concurrent_requests": limits.max_texts,
        "max_input_length": model.max_tokens or limits.max_text_chars,
        "max_batch_tokens": limits.max_body_bytes,
        "max_batch_requests": None,
        "max_client_batch_size": limits.max_texts,
        "auto_truncate": False,
        "tokenization_workers": os.cpu_count() or 1,
        "version": turbov2.__version__,
        "sha": None,
        "docker_label": None,
    }
