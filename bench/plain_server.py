"""The obvious way to serve such a model: FastAPI, pydantic, model2vec.

Run as `python -m bench.plain_server PORT DTYPE`. Nothing here is slowed down on purpose: current FastAPI,
uvicorn with uvloop and httptools, a `def` endpoint as model2vec is not asynchronous, and uvicorn's default
access log.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.model import model2vec_model


class EmbedIn(BaseModel):
    """Body of POST /api/embed."""

    model: str
    input: str | list[str]


class EmbedOut(BaseModel):
    """Answer of POST /api/embed."""

    model: str
    embeddings: list[list[float]]


def build(dtype: str) -> FastAPI:
    """Returns the application with the model loaded."""
    app = FastAPI()
    model = model2vec_model(dtype)

    @app.get("/readyz")
    def readyz() -> str:
        return "ok"

    @app.post("/api/embed", response_model=EmbedOut)
    def embed(body: EmbedIn) -> EmbedOut:
        texts = [body.input] if isinstance(body.input, str) else body.input
        return EmbedOut(model=body.model, embeddings=model.encode(texts, max_length=None).tolist())

    return app


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]))
