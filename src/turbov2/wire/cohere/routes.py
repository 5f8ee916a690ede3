"""Cohere's embedding route."""

from __future__ import annotations

import msgspec

from turbov2.engine.protocol import Engine
from turbov2.wire._body import parse_json
from turbov2.wire._http import Request, Response, Route
from turbov2.wire.cohere import adapt
from turbov2.wire.cohere.schema import EmbedBody

_EMBED = msgspec.json.Decoder(EmbedBody)


class CohereRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine, default_embed_model: str) -> None:
        self._engine = engine
        self._default_embed_model = default_embed_model

    async def embed(self, request: Request) -> Response:
        """POST /v2/embed. Vectors as floats, bytes or bits, in several ways at once if wanted."""
        body = parse_json(await request.body(), _EMBED)
        asked = adapt.parse_embed(body, body.model or self._default_embed_model, request.limits)
        result = await self._engine.embed(asked, request.context)
        types = body.embedding_types or ["float"]
        return Response(adapt.render_embed(request.context.request_id, asked, result, types))


def routes(engine: Engine, default_embed_model: str) -> list[Route]:
    """Returns this family's routes."""
    cohere = CohereRoutes(engine, default_embed_model)
    return [Route("/v2/embed", ("POST",), cohere.embed, "cohere")]
