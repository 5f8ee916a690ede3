"""The routes of text-embeddings-inference that reranking does not share."""

from __future__ import annotations

import msgspec

from turbov2.engine.protocol import Engine
from turbov2.types import EmbedResult, OutputKind
from turbov2.wire._body import parse_json
from turbov2.wire._http import Request, Response, Route
from turbov2.wire._pairs import score_pairs
from turbov2.wire._tei import timing_headers
from turbov2.wire.tei import adapt, predict
from turbov2.wire.tei.info import info
from turbov2.wire.tei.schema import EmbedBody, PredictBody, SimilarityBody

_EMBED = msgspec.json.Decoder(EmbedBody)
_PREDICT = msgspec.json.Decoder(PredictBody)
_SIMILARITY = msgspec.json.Decoder(SimilarityBody)


class TeiRoutes:
    """The handlers, around one engine and the models that answer where a request can name none."""

    def __init__(self, engine: Engine, embed_model: str, rerank_model: str) -> None:
        self._engine = engine
        self._embed_model = embed_model
        self._rerank_model = rerank_model

    async def embed(self, request: Request) -> Response:
        """POST /embed, / and /invocations. One vector an input, from the default embedding model."""
        result, headers = await self._embed(request, "dense")
        return Response(adapt.render_embed(result), headers=headers)

    async def embed_all(self, request: Request) -> Response:
        """POST /embed_all. One vector a token, for models that give them."""
        result, headers = await self._embed(request, "tokens")
        assert result.tokens is not None, "asked for and not refused"
        return Response(adapt.render_embed_all(result.tokens), headers=headers)

    async def embed_sparse(self, request: Request) -> Response:
        """POST /embed_sparse. Lexical weights, for models that give them."""
        result, headers = await self._embed(request, "sparse")
        assert result.sparse is not None, "asked for and not refused"
        return Response(adapt.render_embed_sparse(result.sparse), headers=headers)

    async def predict(self, request: Request) -> Response:
        """POST /predict. Scores of pairs, from the default rerank model."""
        body = parse_json(await request.body(), _PREDICT)
        firsts, asked = predict.parse_predict(body, self._rerank_model, request.limits)
        result = await score_pairs(self._engine, firsts, asked, request.context)
        n_chars = sum(map(len, firsts)) + sum(map(len, asked.documents))
        return Response(
            predict.render_predict(result, is_single=predict.is_single(body.inputs)),
            headers=timing_headers(result, n_chars),
        )

    async def similarity(self, request: Request) -> Response:
        """POST /similarity. Cosines of one text with others, from the default embedding model."""
        body = parse_json(await request.body(), _SIMILARITY)
        asked = adapt.parse_similarity(body, self._embed_model, request.limits)
        result = await self._engine.embed(asked, request.context)
        return Response(
            adapt.render_similarity(result), headers=timing_headers(result, sum(map(len, asked.inputs)))
        )

    async def info(self, request: Request) -> Response:
        """GET /info. The default embedding model and the limits."""
        status = self._engine.model(self._embed_model)
        return Response(msgspec.json.encode(info(status, request.limits)))

    async def _embed(
        self, request: Request, output: OutputKind
    ) -> tuple[EmbedResult, list[tuple[bytes, bytes]]]:
        body = parse_json(await request.body(), _EMBED)
        asked = adapt.parse_embed(body, self._embed_model, request.limits, output)
        result = await self._engine.embed(asked, request.context)
        return result, timing_headers(result, sum(map(len, asked.inputs)))


def routes(engine: Engine, embed_model: str, rerank_model: str) -> list[Route]:
    """Returns this family's routes."""
    tei = TeiRoutes(engine, embed_model, rerank_model)
    return [
        Route("/embed", ("POST",), tei.embed, "tei"),
        Route("/", ("POST",), tei.embed, "tei"),
        Route("/invocations", ("POST",), tei.embed, "tei"),
        Route("/embed_all", ("POST",), tei.embed_all, "tei"),
        Route("/embed_sparse", ("POST",), tei.embed_sparse, "tei"),
        Route("/predict", ("POST",), tei.predict, "tei"),
        Route("/similarity", ("POST",), tei.similarity, "tei"),
        Route("/info", ("GET",), tei.info, "tei"),
    ]
