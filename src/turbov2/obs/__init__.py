"""Logs and metric names. Must not know models, wires or the engine."""
