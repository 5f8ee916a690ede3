"""Static embeddings in Model2Vec's format: one table row per token, averaged.

Owns reading that format and the fastest exact way from text to vector. Must not know requests, wires
or other backends.
"""

from turbov2.backends.static.backend import StaticBackend

__all__ = ["StaticBackend"]
