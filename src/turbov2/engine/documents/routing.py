"""Which way a page is read: a pure choice by what its file and the classifier say."""

from __future__ import annotations

from turbov2.types import Judgement, PageRoute

_FLAWS = {
    "none": "there is no text layer",
    "unmapped": "the text layer has glyphs that stand for no characters",
    "garbled": "the text layer makes no words",
    "scattered": "the text layer is torn into letters",
    "hidden": "the text layer is invisible, as a scanner leaves it",
    "scan": "the page is a picture with hardly any text",
}
_NO_VLM = "the page is HIGH and no vlm was named, so what it shows beside text is left out"


def choose_route(
    text_layer: str, judgement: Judgement | None, why_unjudged: str, *, has_vlm: bool
) -> PageRoute:
    """Returns the route of a page.

    text_layer: the verdict on it. why_unjudged: told where there is no judgement; nothing is guessed then.
    """
    is_high = judgement is not None and judgement.label == "HIGH"
    is_sound = text_layer == "sound"
    why = "the text layer is sound" if is_sound else _FLAWS.get(text_layer, f"the text layer is {text_layer}")
    if is_high and has_vlm:
        way = "text+vlm" if is_sound else "vlm"
        return PageRoute(way, f"{why}; the page is HIGH", text_layer, judgement)  # type: ignore[arg-type]
    if is_high:
        why = f"{why}; {_NO_VLM}"
    elif judgement is None:
        why = f"{why}; {why_unjudged}"
    return PageRoute("text" if is_sound else "ocr", why, text_layer, judgement)
