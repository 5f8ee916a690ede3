"""The one owner of memory: what is loaded, who holds it, what has to go.

Owns the table of residents and every decision about it. Must not know requests, wires, or how a model
is loaded: it is given `Models` that size and load, and gets back something it can measure and close.
"""

from turbov2.residency.footprints import Footprints
from turbov2.residency.leases import Lease
from turbov2.residency.memory import MachineMemory, Memory
from turbov2.residency.pools import HOST, Bytes, Pool
from turbov2.residency.residency import Residency
from turbov2.residency.states import Held, Models, Resident, State

__all__ = [
    "HOST",
    "Bytes",
    "Footprints",
    "Held",
    "Lease",
    "MachineMemory",
    "Memory",
    "Models",
    "Pool",
    "Residency",
    "Resident",
    "State",
]
