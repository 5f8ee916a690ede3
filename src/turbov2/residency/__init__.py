"""The one owner of memory: what is loaded, who holds it, what has to go.

Owns the table of residents and every decision about it. Must not know requests, wires, or how a model
is loaded: it is given a function that loads and gets back something it can measure and close.
"""

from turbov2.residency.residency import Lease, Residency
from turbov2.residency.states import Held, Resident, State

__all__ = ["Held", "Lease", "Resident", "Residency", "State"]
