"""What a decoder and its child say to each other: one request at a time, each answered once.

The file follows a request as a uint8 buffer, unless the child still holds the document of that key. Sound is
different: its file comes as a descriptor beside the request, and there are many answers, of which an AudioEnd
or a Failure is the last.
"""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.errors import TurboError, from_fields
from turbov2.media.limits import MediaLimits
from turbov2.media.results import AudioFacts, PageObjects, Soundness, View
from turbov2.runners.frames import Header, Protocol

PROTOCOL_VERSION = 2
MAX_MESSAGE_CHARS = 4096  # of an error


class _Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    pass


class Begin(_Message, frozen=True):
    """Set yourself these limits. First request, and the only one of its kind."""

    version: int
    limits: MediaLimits


class ReadImage(_Message, frozen=True):
    """Decode the first frame or page. Buffer: the file."""

    view: View


class OpenDocument(_Message, frozen=True):
    """Open the file and hold it under this key. Buffer: the file."""

    key: int
    password: str | None = None


class ReadPage(_Message, frozen=True):
    """Read a page's text layer and objects. Buffer: the file, or none."""

    key: int
    index: int
    password: str | None = None


class RenderPage(_Message, frozen=True):
    """Draw a page. Buffer: the file, or none."""

    key: int
    index: int
    view: View
    password: str | None = None


class ReadAudio(_Message, frozen=True):
    """Decode the sound of the file whose descriptor comes along."""


class _Answer(_Message, frozen=True):
    rss_bytes: int  # of the child, once the request is done


class Hello(_Answer, frozen=True):
    """The child has set itself its limits."""


class ImageReply(_Answer, frozen=True):
    """Buffer: uint8 `[height, width * n_channels]`."""

    n_channels: int
    format: str
    source_width_px: int
    source_height_px: int
    n_frames: int
    is_rotated: bool


class DocumentReply(_Answer, frozen=True):
    """Buffer: float32 `[n, 2]` page sizes."""

    format: str
    is_encrypted: bool


class PageReply(_Answer, frozen=True):
    """Buffers: words as one uint8 msgpack list, float32 `[n, 4]` boxes, int32 `[n]` lines."""

    width: float
    height: float
    rotation_degrees: int
    soundness: Soundness
    objects: PageObjects


class AudioStart(_Answer, frozen=True):
    """First answer: what the file is. claimed_s: how long it says that it is. is_cut: its end is missing."""

    facts: AudioFacts
    claimed_s: float | None
    is_cut: bool


class AudioSamples(_Answer, frozen=True):
    """Buffer: uint8 `[2 * n]`, the next samples as int16 of this machine."""


class AudioEnd(_Answer, frozen=True):
    """No more samples come. broken: where and why the file breaks off, empty if it is whole."""

    broken: str = ""


class Failure(_Answer, frozen=True):
    """The request ended in a TurboError, as its plain fields."""

    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None


Request = ReadImage | OpenDocument | ReadPage | RenderPage | ReadAudio
Answer = Hello | ImageReply | DocumentReply | PageReply | AudioStart | AudioSamples | AudioEnd | Failure
TO_CHILD: Protocol = msgspec.msgpack.Decoder(Header[Begin | Request])
TO_PARENT: Protocol = msgspec.msgpack.Decoder(Header[Answer])


def failure(error: TurboError, rss_bytes: int) -> Failure:
    """Returns the message that `error_of` turns back into `error`, an endless text cut."""
    cut: dict[str, Any] = error.to_fields() | {"message": error.message[:MAX_MESSAGE_CHARS]}
    return Failure(rss_bytes, **cut)


def error_of(message: Failure) -> TurboError:
    """Returns the error the child meant."""
    fields = ("code", "message", "param", "retry_after_s")
    return from_fields({name: getattr(message, name) for name in fields})
