"""Anthropic's API: `/v1/messages`. Its official clients, LangChain and n8n speak it."""

from turbov2.wire.anthropic.routes import routes

__all__ = ["routes"]
