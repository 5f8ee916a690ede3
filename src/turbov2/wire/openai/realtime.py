"""OpenAI's realtime transcription sessions: what a client says ↔ what a session is. Pure.

Two shapes are spoken: today's (`session.update`) and that of the beta (`transcription_session.update`), which
the clients of its time still send.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pybase64

from turbov2.errors import InvalidRequest, NotSupported, TurboError
from turbov2.types import LiveRequest, TranscribeOptions, TurnOptions
from turbov2.wire._errors import error_body
from turbov2.wire._forms import Form
from turbov2.wire._live import RATES_HZ, parse_turns
from turbov2.wire._transcripts import WHISPER, parse_language, parse_prompt

UPDATES = ("session.update", "transcription_session.update")
_RATE_HZ = 24_000
_PCM = ("audio/pcm", "pcm16")
_LOGPROBS = "item.input_audio_transcription.logprobs"


class Said(msgspec.Struct):
    """A client's event."""

    type: str = ""
    event_id: str | None = None
    audio: str | None = None
    session: dict[str, Any] | None = None


class Config(msgspec.Struct, frozen=True):
    """What a session is set to. turns: None: the client commits."""

    model: str = WHISPER
    language: str | None = None
    prompt: str | None = None
    turns: TurnOptions | None = TurnOptions()
    rate_hz: int = _RATE_HZ

    def request(self) -> LiveRequest:
        """Returns what is wanted of the engine. Where the client commits, nothing is told before that."""
        options = TranscribeOptions(language=self.language, initial_prompt=self.prompt)
        return LiveRequest(self.model, options, self.turns, has_partials=self.turns is not None)


_SAID = msgspec.json.Decoder(Said)


def parse_event(message: str | bytes) -> Said:
    """Returns a client's event. Raises: InvalidRequest."""
    if isinstance(message, bytes):
        raise InvalidRequest("a binary message came; send events as JSON, and sound as base64 in them")
    try:
        return _SAID.decode(message)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest("a message is no event: expected a JSON object with a type") from error


def parse_sound(said: Said) -> bytes:
    """Returns the bytes that an append brings. Raises: InvalidRequest."""
    try:
        return pybase64.b64decode(said.audio or "", validate=True)
    except ValueError as error:
        raise InvalidRequest("audio is not base64", param="audio") from error


def parse_update(config: Config, said: Said) -> Config:
    """Returns the session's settings after an update; what it does not name stays.

    Raises: InvalidRequest, NotSupported naming the field.
    """
    session = said.session
    if session is None:
        raise InvalidRequest("session is missing", param="session")
    if _LOGPROBS in Form(session).texts("include"):
        raise NotSupported("log probabilities are not given here; leave out include", param="session.include")
    fields = _today(session) if said.type == UPDATES[0] else _beta(session)
    if fields.get("transcription"):
        config = _with_transcription(config, _object(fields["transcription"], "transcription"))
    if "turn_detection" in fields:
        config = msgspec.structs.replace(config, turns=_turns(fields["turn_detection"]))
    if fields.get("format"):
        config = msgspec.structs.replace(config, rate_hz=_rate_hz(fields["format"]))
    return config


def _today(session: dict[str, Any]) -> dict[str, Any]:
    kind = session.get("type", "transcription")
    if kind != "transcription":
        raise NotSupported(
            f"session.type is {str(kind)[:40]!r}; this server has sessions of type transcription only",
            param="session.type",
        )
    return _object(_object(session.get("audio") or {}, "audio").get("input") or {}, "audio.input")


def _beta(session: dict[str, Any]) -> dict[str, Any]:
    names = {"input_audio_transcription": "transcription", "input_audio_format": "format"}
    return {names.get(name, name): value for name, value in session.items()}


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"session.{name} is no object", param=f"session.{name}")
    return value


def _with_transcription(config: Config, fields: dict[str, Any]) -> Config:
    form = Form(fields)
    return msgspec.structs.replace(
        config,
        model=form.text("model") or config.model,
        language=parse_language(form) if "language" in fields else config.language,
        prompt=parse_prompt(form, "prompt") if "prompt" in fields else config.prompt,
    )


def _turns(value: Any) -> TurnOptions | None:
    if value is None:
        return None
    fields = _object(value, "turn_detection")
    kind = fields.get("type", "server_vad")
    if kind != "server_vad":
        raise NotSupported(
            f"turn_detection.type is {str(kind)[:40]!r}, expected server_vad, or null to commit yourself",
            param="session.turn_detection.type",
        )
    return parse_turns(Form(fields))


def _rate_hz(value: Any) -> int:
    fields = value if isinstance(value, dict) else {"type": value}
    if (kind := fields.get("type", _PCM[0])) not in _PCM:
        raise NotSupported(f"format is {str(kind)[:40]!r}, expected audio/pcm", param="session.format")
    rate_hz = fields.get("rate", _RATE_HZ)
    if rate_hz not in RATES_HZ:
        known = ", ".join(map(str, RATES_HZ))
        raise InvalidRequest(f"rate is {str(rate_hz)[:40]}, expected one of: {known}", param="session.rate")
    return int(rate_hz)


def render_session(config: Config, session_id: str, *, is_beta: bool) -> dict[str, Any]:
    """Returns the session's settings in the one shape or the other."""
    transcription = {"model": config.model, "language": config.language, "prompt": config.prompt or ""}
    detection = None
    if config.turns is not None:
        detection = {"type": "server_vad", **msgspec.structs.asdict(config.turns)}
    head: dict[str, Any] = {"id": session_id, "object": "realtime.transcription_session"}
    if is_beta:
        return {
            **head,
            "modalities": ["text"],
            "input_audio_format": "pcm16",
            "input_audio_transcription": transcription,
            "turn_detection": detection,
        }
    heard = {
        "format": {"type": "audio/pcm", "rate": config.rate_hz},
        "transcription": transcription,
        "noise_reduction": None,
        "turn_detection": detection,
    }
    return {**head, "type": "transcription", "audio": {"input": heard}, "include": None}


def error_fields(error: TurboError, event_id: str | None = None) -> dict[str, Any]:
    """Returns the `error` object of an error event; event_id: of the client's event that caused it."""
    told: dict[str, Any] = error_body(error, "openai")["error"]
    return {**told, "event_id": event_id}
