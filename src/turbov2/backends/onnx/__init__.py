"""Encoders exported to ONNX, run by ONNX Runtime: embedders, models with bge-m3's three heads, rerankers.

Owns reading such a folder and running its graph so that a text's result never depends on what else is in
the batch. Must not know requests, wires or other backends.
"""

from turbov2.backends.onnx.backend import OnnxBackend

__all__ = ["OnnxBackend"]
