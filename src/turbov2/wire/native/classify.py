"""POST /api/classify ↔ canonical requests and results. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.types import ClassifyRequest, ClassifyResult
from turbov2.wire._media import MediaForm

CLASSIFIER = "vl-classifier"
_MAX_PAGES = 100_000
_DIGITS = 6
_ROUTES = {
    "LOW": "Simple document - Route to OCR pipeline (~100ms)",
    "HIGH": "Complex document - Route to VLM reasoning pipeline (~2000ms)",
}


def is_text_alone(form: MediaForm) -> bool:
    """Returns whether n8n's reranker node asks about a document that has a text and no image."""
    return form.payload is None and isinstance(form.fields.get("text"), str)


def parse_classify(form: MediaForm) -> ClassifyRequest:
    """Returns the canonical request.

    n8n's reranker node sends, beside a document's text, the model that was picked for ranking: there the
    field does not name the classifier. Raises: InvalidRequest.
    """
    is_node = isinstance(form.fields.get("text"), str)
    model = CLASSIFIER if is_node else form.text("model") or CLASSIFIER
    page = form.integer("page", 1, 1, _MAX_PAGES)
    return ClassifyRequest(model, form.required("image"), page - 1, form.keep_alive_s())


def render_classified(result: ClassifyResult) -> bytes:
    """Returns the body: the documented fields, what n8n's node reads, and how the answer came about."""
    p_high = round(result.p_high, _DIGITS)
    p_low = round(1 - p_high, _DIGITS)
    return _body(
        result.label,
        {"LOW": p_low, "HIGH": p_high},
        result.model,
        result.total_ns,
        {
            "threshold": result.threshold,
            "image": {
                "format": result.format,
                "width": result.width_px,
                "height": result.height_px,
                "pages": result.n_pages,
            },
            "decode_ms": _ms(result.decode_ns),
            "queue_ms": _ms(result.queue_ns),
            "inference_ms": _ms(result.inference_ns),
            "load_ms": _ms(result.load_ns),
        },
    )


def render_text_alone() -> bytes:
    """Returns the answer for a text without an image: by the classifier's own rule text alone is LOW."""
    return _body("LOW", {"LOW": 1.0, "HIGH": 0.0}, "none", 0, {"reason": "a text without an image"})


def _body(
    label: str, probabilities: dict[str, float], model: str, total_ns: int, more: dict[str, Any]
) -> bytes:
    latency_ms = _ms(total_ns)
    return msgspec.json.encode(
        {
            "class_name": label,
            "class_id": int(label == "HIGH"),
            "confidence": probabilities[label],
            "probabilities": probabilities,
            "routing_decision": _ROUTES[label],
            "latency_ms": latency_ms,
            "complexity": label,
            "classification": label,
            "processing_time": latency_ms,
            "model": model,
            **more,
        }
    )


def _ms(ns: int) -> float:
    return round(ns / 1e6, 2)
