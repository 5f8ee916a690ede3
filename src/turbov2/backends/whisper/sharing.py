"""faster-whisper's model, loaded once and used by many calls at a time; and its options made of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import TranscriptionOptions, get_suppressed_tokens

from turbov2.errors import InferenceFailed, InvalidRequest
from turbov2.types import SpokenLanguage, TranscribeOptions

_PREPENDED = "\"'“¿([{-"  # to the next word, and the others to the last: faster-whisper's defaults
_APPENDED = "\"'.。,，!！?？:：”)]}、"


class SharedWhisper(WhisperModel):  # type: ignore[misc]
    """A loaded model for one call. `is_cancelled` is asked before each of its steps, and ends it."""

    def __init__(self, loaded: WhisperModel, is_cancelled: Callable[[], bool]) -> None:
        self.__dict__.update(vars(loaded))  # its own constructor would load the weights once more
        self.model = _Steps(loaded.model, is_cancelled)

    def spoken_language(self, features: Any) -> SpokenLanguage:
        """Returns the language of features `[n_mels, n]`, of which the first 3,000 count."""
        if not self.model.is_multilingual:
            return SpokenLanguage("en", 1.0)
        code, probability, probabilities = self.detect_language(features=features)
        return SpokenLanguage(code, probability, tuple(probabilities))

    def tokenizer_of(self, options: TranscribeOptions) -> Tokenizer:
        """Returns the tokenizer for the options' language. Raises: InvalidRequest when there is none."""
        language = options.language if self.model.is_multilingual else "en"
        if language not in self.supported_languages:
            raise InvalidRequest(f"language '{language}' is not one of the model's", param="language")
        return Tokenizer(self.hf_tokenizer, self.model.is_multilingual, task=options.task, language=language)


class _Steps:
    """CTranslate2's model with a look at whether somebody still waits before it encodes or generates."""

    def __init__(self, model: Any, is_cancelled: Callable[[], bool]) -> None:
        self._model = model
        self._is_cancelled = is_cancelled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        self._heed()
        return self._model.encode(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        self._heed()
        return self._model.generate(*args, **kwargs)

    def _heed(self) -> None:
        if self._is_cancelled():
            raise InferenceFailed("nobody waits for this any more")


def library_options(options: TranscribeOptions, tokenizer: Tokenizer, **different: Any) -> Any:
    """Returns faster-whisper's options, with what `different` names in place of ours."""
    suppressed = list(options.suppress_tokens)
    given: dict[str, Any] = {
        "beam_size": options.beam_size,
        "best_of": options.best_of,
        "patience": options.patience,
        "length_penalty": options.length_penalty,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "log_prob_threshold": options.log_prob_threshold,
        "no_speech_threshold": options.no_speech_threshold,
        "compression_ratio_threshold": options.compression_ratio_threshold,
        "condition_on_previous_text": options.condition_on_previous_text,
        "prompt_reset_on_temperature": options.prompt_reset_on_temperature,
        "temperatures": list(options.temperatures),
        "initial_prompt": options.initial_prompt,
        "prefix": options.prefix,
        "suppress_blank": options.suppress_blank,
        "suppress_tokens": get_suppressed_tokens(tokenizer, suppressed) if suppressed else [],
        "without_timestamps": options.without_timestamps,
        "max_initial_timestamp": options.max_initial_timestamp,
        "word_timestamps": options.word_timestamps,
        "prepend_punctuations": _PREPENDED,
        "append_punctuations": _APPENDED,
        "multilingual": False,
        "max_new_tokens": None,
        "clip_timestamps": "0",
        "hallucination_silence_threshold": None,
        "hotwords": options.hotwords,
    }
    return TranscriptionOptions(**given | different)
