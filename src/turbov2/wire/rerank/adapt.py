"""Rerank bodies of Cohere, Jina, Voyage, vLLM and Infinity → canonical requests, and results → theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from turbov2.errors import EmptyInput, NotSupported
from turbov2.types import RerankRequest, RerankResult
from turbov2.wire._http import Limits
from turbov2.wire._ranking import parse_documents, parse_query, parse_top_n, ranked_rows, whole_or_pieces
from turbov2.wire.rerank.schema import RerankBody


def parse_rerank(body: RerankBody, model: str, limits: Limits) -> RerankRequest:
    """Returns the canonical request; scores are wanted in 0..1 unless raw ones are asked for.

    Raises: InvalidRequest, EmptyInput, NotSupported.
    """
    if body.rank_fields:
        raise NotSupported("rank_fields is not supported: put what counts into each document's `text`")
    documents = parse_documents(body.documents, limits)
    if not documents:
        raise EmptyInput("documents is empty: send at least one text", param="documents")
    return RerankRequest(
        model,
        parse_query(body.query, limits),
        documents,
        instruction=body.instruction or "",
        is_normalized=not body.raw_scores and body.use_activation is not False,
        truncate=body.truncation is not False,
    )


def parse_top(body: RerankBody) -> int | None:
    """Returns how many results are wanted at most, None for all. Raises: InvalidRequest."""
    if body.top_n is not None:
        return parse_top_n(body.top_n, "top_n")
    return parse_top_n(body.top_k, "top_k")


def document_fields(body: RerankBody, path: str, documents: Sequence[str]) -> Callable[[int], bytes]:
    """Returns what gives the `document` of each result, as the dialect of the request has it.

    Voyage and Infinity repeat a text, Cohere and Jina an object with it, and only when asked; vLLM always
    does. Each is known by its own fields, and /rerank is vLLM's where nothing else is said. LiteLLM sends the
    same to Infinity and to vLLM: it gets vLLM's object.
    """
    is_text = any(field is not None for field in (body.top_k, body.truncation, body.raw_scores))
    is_vllm = body.use_activation is not None or body.truncate_prompt_tokens is not None or path == "/rerank"
    has_documents = is_vllm and not is_text if body.return_documents is None else body.return_documents
    if not has_documents:
        return lambda index: b""
    form = b',"document":%b' if is_text else b',"document":{"text":%b}'
    return lambda index: form % msgspec.json.encode(documents[index])


def render_rerank(
    request_id: str,
    path: str,
    asked: RerankRequest,
    result: RerankResult,
    top_n: int | None,
    document: Callable[[int], bytes],
) -> bytes | Iterator[bytes]:
    """Returns one body for all five dialects, best document first: each client reads its own fields of it.

    Cohere's reads `id`, `results` and `meta`, Voyage's `data` and `usage`, the others' `results` and `usage`.
    """

    def rows() -> Iterator[bytes]:
        return ranked_rows(result, top_n, b"relevance_score", document)

    def fragments() -> Iterator[bytes]:
        yield b'{"id":%b,"object":"list","created":%d,"model":%b,"results":[' % (
            msgspec.json.encode(request_id),
            time.time(),
            msgspec.json.encode(asked.model),
        )
        yield from rows()
        yield b'],"data":['
        yield from rows()
        yield b'],"usage":%b,"meta":%b}' % (usage(result), _meta(path))

    return whole_or_pieces(fragments(), len(asked.documents))


def usage(result: RerankResult) -> bytes:
    """Returns the JSON object of the tokens read."""
    return b'{"prompt_tokens":%d,"total_tokens":%d}' % (result.n_tokens, result.n_tokens)


def _meta(path: str) -> bytes:
    version = b"2" if path.startswith("/v2/") else b"1"
    return b'{"api_version":{"version":"%b"},"billed_units":{"search_units":1}}' % version
