"""Where a loaded model lives: in the event loop, in threads, or in a process of its own.

Owns starting, calling, stopping and losing the thing that holds the weights. Must not know wires,
settings or which other models exist; reaches a backend by its registry name.
"""
