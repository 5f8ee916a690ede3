"""Logs, metrics, traces and the loop's lag: what operators see of a running server.

Is told what happened, in plain values. Must not know models, wires or the engine.
"""
