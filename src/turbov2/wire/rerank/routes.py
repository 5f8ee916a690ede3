"""The rerank routes of Cohere, Jina, Voyage, vLLM, Infinity and TEI."""

from __future__ import annotations

import msgspec

from turbov2.engine.protocol import Engine
from turbov2.wire._body import parse_json
from turbov2.wire._http import Request, Response, Route
from turbov2.wire._pairs import score_pairs
from turbov2.wire._tei import timing_headers
from turbov2.wire.rerank import adapt, score, tei
from turbov2.wire.rerank.schema import RerankBody, ScoreBody, Shape, TeiRerankBody

_SHAPE = msgspec.json.Decoder(Shape)
_RERANK = msgspec.json.Decoder(RerankBody)
_TEI_RERANK = msgspec.json.Decoder(TeiRerankBody)
_SCORE = msgspec.json.Decoder(ScoreBody)


class RerankRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine, default_rerank_model: str) -> None:
        self._engine = engine
        self._default_rerank_model = default_rerank_model

    async def rerank(self, request: Request) -> Response:
        """POST /rerank, /v1/rerank and /v2/rerank. `texts` makes it TEI's; the others share one answer."""
        data = await request.body()
        if bytes(parse_json(data, _SHAPE).texts) != b"null":
            request.family = "tei"
            return await self._rerank_as_tei(request, parse_json(data, _TEI_RERANK))
        body, path = parse_json(data, _RERANK), request.scope["path"].rstrip("/")
        top_n = adapt.parse_top(body)
        asked = adapt.parse_rerank(body, body.model or self._default_rerank_model, request.limits)
        result = await self._engine.rerank(asked, request.context)
        document = adapt.document_fields(body, path, asked.documents)
        request_id = request.context.request_id
        return Response(adapt.render_rerank(request_id, path, asked, result, top_n, document))

    async def _rerank_as_tei(self, request: Request, body: TeiRerankBody) -> Response:
        asked = tei.parse_rerank(body, self._default_rerank_model, request.limits)
        result = await self._engine.rerank(asked, request.context)
        n_chars = len(asked.query) * len(asked.documents) + sum(map(len, asked.documents))
        return Response(
            tei.render_rerank(asked, result, has_texts=bool(body.return_text)),
            headers=timing_headers(result, n_chars),
        )

    async def score(self, request: Request) -> Response:
        """POST /score and /v1/score. Scores of pairs, one first text to N second ones or N to N."""
        body = parse_json(await request.body(), _SCORE)
        firsts, asked = score.parse_score(body, body.model or self._default_rerank_model, request.limits)
        result = await score_pairs(self._engine, firsts, asked, request.context)
        request_id = request.context.request_id
        return Response(score.render_score(request_id, asked.model, result, adapt.usage(result)))


def routes(engine: Engine, default_rerank_model: str) -> list[Route]:
    """Returns this family's routes."""
    rerank = RerankRoutes(engine, default_rerank_model)
    return [
        Route("/rerank", ("POST",), rerank.rerank, "cohere"),
        Route("/v1/rerank", ("POST",), rerank.rerank, "cohere"),
        Route("/v2/rerank", ("POST",), rerank.rerank, "cohere"),
        Route("/score", ("POST",), rerank.score, "openai"),
        Route("/v1/score", ("POST",), rerank.score, "openai"),
    ]
