"""Servers of others that a backend starts for itself, one for each model that it holds.

Owns their processes and HTTP to them. Must not know what is asked of them.
"""

from turbov2.backends.servers.connection import Address, Connection, free_port, heard
from turbov2.backends.servers.process import ServerProcess

__all__ = ["Address", "Connection", "ServerProcess", "free_port", "heard"]
