"""The HTTP APIs clients speak: one package per family, each a pure translation.

Owns field names, statuses, bodies and stream framings. Must not know how a model runs; a family never
knows another family.
"""
