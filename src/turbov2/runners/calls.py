"""Calls into a backend, made safe: only a TurboError comes out, whatever the library does."""

from __future__ import annotations

import logging
from typing import cast

from turbov2.backends.protocol import Backend, Embedder
from turbov2.backends.registry import backend_factory
from turbov2.errors import InferenceFailed, LoadFailed, NotCapable, OutOfMemory, TurboError
from turbov2.types import EmbedBatch, EmbedOutput, LoadSpec

logger = logging.getLogger(__name__)


def load_backend(spec: LoadSpec) -> Backend:
    """Returns the loaded backend. Blocks.

    Raises: TurboError only; anything else is logged here and becomes a LoadFailed without its text.
    """
    try:
        return backend_factory(spec.backend)(spec)
    except TurboError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"model '{spec.model}' does not fit into memory", retry_after_s=30) from error
    except Exception as error:
        logger.exception("loading model %s failed", spec.model)
        raise LoadFailed(f"model '{spec.model}' could not be loaded; the server's log says why") from error


def run_embed(model: str, backend: Backend, batch: EmbedBatch) -> EmbedOutput:
    """Returns what the backend computes. Raises: TurboError only, as `load_backend`."""
    if "embed" not in backend.loaded.capabilities:
        raise NotCapable(f"model '{model}' does not embed")
    try:
        return cast(Embedder, backend).embed(batch)
    except TurboError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"model '{model}' ran out of memory on this input", retry_after_s=5) from error
    except Exception as error:
        logger.exception("model %s failed", model)
        raise InferenceFailed(f"model '{model}' failed on this input; the server's log says why") from error
