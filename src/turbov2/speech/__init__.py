"""Speech: its spectrum, where it is, and what its transcript looks like.

Owns pure functions over samples, probabilities and segments. Must not know models, files or wires.
"""
