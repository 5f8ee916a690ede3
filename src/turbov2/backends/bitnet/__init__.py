"""Models with ternary weights, run by the llama-server of a bitnet.cpp that the operator has built.

Owns that server, and what its models are told. Must not know who asks, or how answers leave.
"""

from turbov2.backends.bitnet.backend import BitnetBackend

__all__ = ["BitnetBackend"]
