"""OpenAI's API: `/v1/*`. Its official clients, LangChain and LlamaIndex speak it."""

from turbov2.wire.openai.routes import routes

__all__ = ["routes"]
