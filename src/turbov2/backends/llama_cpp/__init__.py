"""Models in GGUF that write text, and see where a projector lies beside them, with llama.cpp.

Owns their prompts and the server inside llama.cpp. Must not know who asks, or how answers leave.
"""

from turbov2.backends.llama_cpp.backend import LlamaCppBackend

__all__ = ["LlamaCppBackend"]
