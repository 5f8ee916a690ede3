"""What the server can do, as one protocol with one method per capability.

Owns the way from a request to a result: name, admission, lease, batch, answer. Must not know any
wire's field names or HTTP.
"""

from turbov2.engine.local import LocalEngine
from turbov2.engine.protocol import Engine

__all__ = ["Engine", "LocalEngine"]
