"""Whether a model can do what a request asks of it."""

from __future__ import annotations

from turbov2.catalog import ModelSpec
from turbov2.errors import InvalidRequest, NotCapable
from turbov2.types import EmbedRequest, Inputs, InputType, Loaded, SpeechGoal, SpeechNeed, TranscribeOptions


def check_embeds(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model is for something else."""
    if spec.capability != "embed":
        raise NotCapable(f"model '{spec.name}' does not embed, it is for: {spec.capability}", param="model")


def check_ranks(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model neither ranks nor embeds."""
    if spec.capability not in ("rerank", "embed"):
        raise NotCapable(f"model '{spec.name}' does not rank, it is for: {spec.capability}", param="model")


def check_classifies(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model is for something else."""
    if spec.capability != "classify":
        raise NotCapable(
            f"model '{spec.name}' does not classify, it is for: {spec.capability}", param="model"
        )


def check_reads(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model is for something else."""
    if spec.capability != "ocr":
        raise NotCapable(
            f"model '{spec.name}' does not read pages by itself, it is for: {spec.capability}", param="model"
        )


def check_sees(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model does not answer questions about images."""
    if spec.capability == "ocr":
        raise NotCapable(
            f"model '{spec.name}' reads text off a page but answers no questions about it, it is for: ocr; "
            "ask a vision-language model, as lfm25-vl",
            param="model",
        )
    if spec.capability == "generate":
        raise NotCapable(
            f"model '{spec.name}' reads text alone; leave images out, or ask a vision-language model, as "
            "lfm25-vl",
            param="model",
        )
    if spec.capability != "vision":
        raise NotCapable(f"model '{spec.name}' does not see, it is for: {spec.capability}", param="model")


def check_writes(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model does not write text."""
    if spec.capability not in ("vision", "generate"):
        raise NotCapable(
            f"model '{spec.name}' does not write text, it is for: {spec.capability}", param="model"
        )


def check_transcribes(spec: ModelSpec, task: SpeechGoal) -> None:
    """Raises: NotCapable when the model is for something else, or was not trained to translate."""
    if spec.capability != "transcribe":
        raise NotCapable(
            f"model '{spec.name}' does not transcribe, it is for: {spec.capability}", param="model"
        )
    if task == "translate" and not spec.translates:
        raise _no_translator(spec)


def check_hears(spec: ModelSpec, need: SpeechNeed, options: TranscribeOptions) -> None:
    """Raises: NotCapable when the model does not know the language, or knows English alone to translate."""
    if options.task == "translate" and need.languages == ("en",):
        raise _no_translator(spec)
    language = options.language
    if language is not None and language not in need.languages:
        known = ", ".join(need.languages)
        raise NotCapable(
            f"model '{spec.name}' does not know the language '{language}', only: {known}", param="language"
        )


def _no_translator(spec: ModelSpec) -> NotCapable:
    fix = "take a multilingual one, as whisper-base"
    return NotCapable(f"model '{spec.name}' does not translate; {fix}", param="model")


def check_embed(spec: ModelSpec, loaded: Loaded, request: EmbedRequest) -> None:
    """Raises: InvalidRequest when the model does not give these outputs or `dimensions`."""
    for kind in request.outputs:
        if kind not in loaded.outputs:
            given = ", ".join(loaded.outputs)
            raise InvalidRequest(
                f"model '{spec.name}' gives no {kind} output, only: {given}", param="outputs"
            )
    _check_dimensions(spec, full_dimensions(spec, loaded), request)


def full_dimensions(spec: ModelSpec, loaded: Loaded) -> int | None:
    """Returns how long the model's vectors are: a name may stand for the first part of longer ones."""
    return first_dimensions(spec.dimensions if spec.matryoshka else None, loaded.dimensions)


def first_dimensions(named: int | None, loaded: int | None) -> int | None:
    """Returns the smaller number of those known."""
    return min((n for n in (named, loaded) if n is not None), default=None)


def _check_dimensions(spec: ModelSpec, full: int | None, request: EmbedRequest) -> None:
    wanted = request.dimensions
    if wanted is None:
        return
    if wanted < 1:
        raise InvalidRequest(f"dimensions is {wanted}, expected at least 1", param="dimensions")
    if not request.must_be_matryoshka or full is None or wanted == full:
        return
    if wanted > full:
        raise InvalidRequest(
            f"dimensions is {wanted}, but model '{spec.name}' has {full}", param="dimensions"
        )
    if not spec.matryoshka:
        raise InvalidRequest(
            f"model '{spec.name}' was not trained for fewer dimensions than {full}; leave `dimensions` out",
            param="dimensions",
        )


def with_prompt(spec: ModelSpec, inputs: Inputs, input_type: InputType) -> Inputs:
    """Returns the inputs as the model wants them. Raises: InvalidRequest for ids where it wants a prompt."""
    prompt = spec.query_prompt if input_type == "query" else spec.document_prompt
    if not prompt:
        return inputs
    if any(not isinstance(text, str) for text in inputs):
        raise InvalidRequest(
            f"model '{spec.name}' puts a prompt before each {input_type}: send texts, not token ids",
            param="input",
        )
    return [prompt + text for text in inputs]  # type: ignore[operator]
