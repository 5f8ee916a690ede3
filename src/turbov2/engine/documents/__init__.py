"""Reading documents: each page from its file to text, chunks and vectors, on the way that suits it."""

from turbov2.engine.documents.eyes import ModelEyes
from turbov2.engine.documents.pipeline import Documents

__all__ = ["Documents", "ModelEyes"]
