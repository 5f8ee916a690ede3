"""Models that another server runs, which speaks OpenAI's API: nothing of them is in memory here.

Owns requests, answers and faults of such a server. It is distrusted: what it sends is bounded in size and
time, and its words reach nobody unchecked. Must not know wires, settings or which other models exist.
"""

from turbov2.runners.remote.runner import RemoteRunner

__all__ = ["RemoteRunner"]
