"""What is heard in a session, as OpenAI's server events: items, and their words as they become certain."""

from __future__ import annotations

import itertools
import os.path
import secrets
from collections.abc import Iterator
from typing import Any

import msgspec

from turbov2.errors import InvalidRequest, TurboError
from turbov2.types import (
    Cleared,
    FinalText,
    LiveEvent,
    NothingSaid,
    PartialText,
    SpeechStarted,
    SpeechStopped,
    UtteranceFailed,
)
from turbov2.wire._transcripts import seconds, text_of
from turbov2.wire.openai.realtime import error_fields

_FIRST_WITHOUT_SPACES = "\u2e80"  # scripts from here on part words by nothing, nearly all of them
_TEXT = "conversation.item.input_audio_transcription"


class Agreed:
    """Words are told once two readings in a row agree on them, for a delta cannot be taken back.

    (Liu et al. 2020, "local agreement"; Macháček et al. 2023 for Whisper.)
    """

    def __init__(self) -> None:
        self._told = ""
        self._before = ""

    def revise(self, text: str) -> str:
        """Returns what is certain and was not told yet, after another reading."""
        agreed, self._before = _whole_words(os.path.commonprefix([self._before, text])), text
        return self._tell(agreed)

    def finish(self, text: str) -> str:
        """Returns what is missing of the final text; nothing where that differs from what was told."""
        return self._tell(text)

    def _tell(self, text: str) -> str:
        if not text.startswith(self._told):
            return ""
        more, self._told = text[len(self._told) :], text
        return more


def _whole_words(text: str) -> str:
    for end in range(len(text), 0, -1):
        if text[end - 1].isspace() or text[end - 1] >= _FIRST_WITHOUT_SPACES:
            return text[:end].rstrip()
    return ""


class _Item:
    """One utterance, or all that a client commits at once."""

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self.texts: list[str] = []
        self.spoken_s = 0.0
        self.has_failed = False
        self.agreed = Agreed()


class Told:
    """The server events of one session. `is_manual`: the client commits, as it was said last."""

    def __init__(self) -> None:
        self.session_id = f"sess_{secrets.token_hex(12)}"
        self.is_manual = False
        self._numbers = itertools.count(1)
        self._items: dict[int, _Item] = {}  # of the utterances that are not read yet
        self._speaking: int | None = None
        self._continued: _Item | None = None
        self._last_id: str | None = None
        self._unfinished: set[int] = set()  # utterances whose item goes on with the next

    def event(self, name: str, **fields: Any) -> str:
        """Returns an event's JSON."""
        event_id = f"event_{self.session_id[5:13]}{next(self._numbers):06d}"
        return msgspec.json.encode({"type": name, "event_id": event_id, **fields}).decode()

    def error(self, error: TurboError, event_id: str | None = None) -> str:
        """Returns an error event."""
        return self.event("error", error=error_fields(error, event_id))

    def render(self, event: LiveEvent) -> Iterator[str]:
        """Yields what is told of an event."""
        match event:
            case SpeechStarted():
                yield from self._started(event)
            case SpeechStopped():
                yield from self._stopped(event)
            case PartialText():
                item = self._items[event.utterance]
                yield from self._delta(item, item.agreed.revise(event.text))
            case FinalText():
                yield from self._completed(event)
            case UtteranceFailed():
                item = self._items.pop(event.utterance)
                item.has_failed = True
                self._unfinished.discard(event.utterance)
                yield self.event(
                    f"{_TEXT}.failed", item_id=item.id, content_index=0, error=error_fields(event.error)
                )
            case NothingSaid():
                empty = InvalidRequest("nothing was said since the last commit; send sound before the next")
                fields = {**error_fields(empty), "code": "input_audio_buffer_commit_empty"}
                yield self.event("error", error=fields)
            case Cleared():
                if self._speaking is not None:
                    del self._items[self._speaking]
                self._speaking = self._continued = None
                yield self.event("input_audio_buffer.cleared")

    def _started(self, event: SpeechStarted) -> Iterator[str]:
        item, self._continued = self._continued or _Item(f"item_{secrets.token_hex(10)}"), None
        self._items[event.utterance], self._speaking = item, event.utterance
        if not self.is_manual:
            start_ms = round(event.start_s * 1000)
            yield self.event("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item.id)

    def _stopped(self, event: SpeechStopped) -> Iterator[str]:
        item, self._speaking = self._items[event.utterance], None
        if event.has_more and self.is_manual:
            self._continued = item
            self._unfinished.add(event.utterance)
            return
        if not self.is_manual:
            end_ms = round(event.end_s * 1000)
            yield self.event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item.id)
        yield self.event("input_audio_buffer.committed", previous_item_id=self._last_id, item_id=item.id)
        self._last_id = item.id

    def _completed(self, event: FinalText) -> Iterator[str]:
        item = self._items.pop(event.utterance)
        item.texts.append(text_of(event.segments))
        item.spoken_s += event.end_s - event.start_s
        if event.utterance in self._unfinished:
            self._unfinished.discard(event.utterance)
            return
        if item.has_failed:
            return
        text = " ".join(filter(None, item.texts))
        yield from self._delta(item, item.agreed.finish(text))
        yield self.event(
            f"{_TEXT}.completed",
            item_id=item.id,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": seconds(item.spoken_s)},
        )

    def _delta(self, item: _Item, text: str) -> Iterator[str]:
        if text:
            yield self.event(f"{_TEXT}.delta", item_id=item.id, content_index=0, delta=text)
