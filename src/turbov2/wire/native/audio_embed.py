"""POST /api/audio/embed ↔ a transcript and the vectors of its text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.types import EmbedRequest, EmbedResult, TranscribeRequest, Utterance
from turbov2.wire._forms import Form
from turbov2.wire._transcripts import WHISPER, Transcript, seconds, text_of
from turbov2.wire._vectors import json_rows
from turbov2.wire.native.transcribe import language_fields, parse_request

_LEAST_S, _MOST_S = 1.0, 86_400.0


class Passage(NamedTuple):
    """A part of a transcript that gets a vector."""

    start_s: float
    end_s: float
    text: str


class AskedVectors(NamedTuple):
    """What a request wants. per: "text", "segment", or so many seconds of speech."""

    request: TranscribeRequest
    embed_model: str
    per: str | float


def parse_audio_embed(form: Form, default_embed_model: str) -> AskedVectors:
    """Returns what is wanted. Raises: InvalidRequest naming the field."""
    model = form.text("whisper_model") or form.text("model") or WHISPER
    request = parse_request(form, model, wants_words=False)
    return AskedVectors(request, form.text("embedding_model") or default_embed_model, _per(form))


def _per(form: Form) -> str | float:
    value = str(form.fields.get("per") or "text")
    if value in ("text", "segment"):
        return value
    try:
        length_s = float(value)
    except ValueError:
        length_s = -1.0
    if not _LEAST_S <= length_s <= _MOST_S:
        raise InvalidRequest(
            f"per is '{value[:40]}', expected text, segment, or seconds from {_LEAST_S:g} to {_MOST_S:g}",
            param="per",
        )
    return length_s


def passages_of(segments: Sequence[Utterance], per: str | float) -> list[Passage]:
    """Returns the parts that get a vector, in order; segments are kept whole. Nothing said gives none."""
    groups: list[list[Utterance]] = []
    for segment in segments:
        if not segment.text.strip():
            continue
        if groups and (per == "text" or _fits(groups[-1], segment, per)):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return [Passage(group[0].start_s, group[-1].end_s, text_of(group)) for group in groups]


def _fits(group: Sequence[Utterance], segment: Utterance, per: str | float) -> bool:
    return isinstance(per, float) and segment.end_s - group[0].start_s <= per


def embed_request(asked: AskedVectors, passages: Sequence[Passage]) -> EmbedRequest:
    """Returns what the embedding model is asked; a text longer than it reads is embedded in windows."""
    texts = [passage.text for passage in passages]
    keep_alive_s = asked.request.keep_alive_s
    return EmbedRequest(asked.embed_model, texts, keep_alive_s=keep_alive_s, windows=True)


def render_audio_embed(
    asked: AskedVectors,
    transcript: Transcript,
    passages: Sequence[Passage],
    vectors: EmbedResult | None,
    embed_model: str,
) -> bytes:
    """Returns the answer. vectors: None where nothing was said."""
    result = transcript.result
    fields: dict[str, Any] = {
        "model": result.model,
        "text": text_of(transcript.segments),
        **language_fields(result.language),
        "duration": seconds(result.duration_s),
        "embedding_model": embed_model,
    }
    if asked.per != "text":
        fields["chunks"] = [
            {"start": seconds(passage.start_s), "end": seconds(passage.end_s), "text": passage.text}
            for passage in passages
        ]
    if vectors is not None and vectors.truncated:
        fields["truncated"] = vectors.truncated
    total_ns = result.total_ns + (vectors.total_ns if vectors is not None else 0)
    fields["latency_ms"] = round(total_ns / 1e6, 2)
    rows = b"[]" if vectors is None else json_rows(vectors.vectors)
    return msgspec.json.encode(fields)[:-1] + b',"embeddings":%b}' % rows
