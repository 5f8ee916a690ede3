"""Ollama's API: `/`, `/api/*`. Its clients, LangChain, LlamaIndex and n8n speak it."""

from turbov2.wire.ollama.routes import routes

__all__ = ["routes"]
