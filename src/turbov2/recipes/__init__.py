"""What is done with models rather than by them: distilling one into a static table, measuring quality.

Owns recipes that commands run once, start to end. Must not know the terminal or a running server; nothing
but `cli` imports it, and torch loads only where a teacher is read.
"""
