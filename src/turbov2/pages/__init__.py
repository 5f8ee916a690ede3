"""Lines of text on a page: the order they are read in, what they make together, and how that is written.

Owns pure functions over lines and boxes. Must not know models, files, wires or where the lines came from.
"""
