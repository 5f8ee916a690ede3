"""TurboV2: one server for every model a retrieval and agent stack needs."""

__version__ = "0.1.0"
