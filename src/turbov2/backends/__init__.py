"""One module per library that runs models; heavy libraries load only in here.

Owns turning inputs into outputs with loaded weights. Must not know wires, queues, names of other
models or what else is in memory. Siblings never import each other.
"""
