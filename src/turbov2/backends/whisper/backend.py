"""WhisperBackend: a folder in CTranslate2's format, loaded from this machine's files alone."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import ctranslate2
import msgspec
from faster_whisper import WhisperModel

from turbov2.backends.options import read_options
from turbov2.backends.whisper.chunks import language_of, read_chunk
from turbov2.backends.whisper.voices import hear_voices
from turbov2.backends.whisper.windows import read_window
from turbov2.cores import n_cores
from turbov2.errors import LoadFailed
from turbov2.types import (
    ChunkTask,
    Heard,
    LanguageTask,
    Loaded,
    LoadSpec,
    SpeechNeed,
    SpeechTask,
    VoiceTask,
    WindowTask,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

FILES = ("model.bin", "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
# Tokens come one by one, from small matrices, so a window alone leaves cores idle. More at once take no more
# processor time than one after the other, with any number of threads. Of models as small as tiny and base the
# threads of a window wait for each other longer than they compute: one alone is faster (bench/listening.py).
_MOST_THREADS = 4
_THREADS_PER_CORE = 2
_SMALL_BYTES = 200_000_000  # of model.bin: base has 145 MB in float16, small 484 MB, or 245 MB in int8
_CUDA_TYPES = ("float16", "int8_float16", "float32")  # the first that the device computes with

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_KEPT_BYTES = 512 << 20

ComputeType = Literal[
    "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
]


class WhisperOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `LoadSpec.options` may hold.

    compute_type: CTranslate2's; None: int8 on a CPU, float16 on a CUDA device, or what that has instead.
    n_threads: of one window on a CPU; None: one for tiny and base, else one for each core, up to 4.
    n_slots: windows at a time; None: as many as have two threads for each core, and no more than there are
    cores; one on a CUDA device.
    """

    compute_type: ComputeType | None = None
    n_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    n_slots: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None


class WhisperBackend:
    """Implements Listener. Nothing is kept between calls; as many run at a time as `loaded.n_slots` says."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed."""
        options, folder = read_options(spec, WhisperOptions), _folder_of(spec)
        device, _, index = spec.device.partition(":")
        n_threads = options.n_threads or _usual_threads(spec.files["model.bin"])
        n_slots = options.n_slots or (_usual_slots(n_threads) if device == "cpu" else 1)
        _keep_memory()
        self._whisper = WhisperModel(
            str(folder),
            device=device,
            device_index=int(index or 0),
            compute_type=options.compute_type or _usual_type(device, int(index or 0)),
            cpu_threads=n_threads,
            num_workers=n_slots,
            local_files_only=True,
        )
        model = self._whisper.model
        self.loaded = Loaded(
            capabilities=("transcribe",),
            dtype=model.compute_type,
            n_slots=n_slots,
            speech=SpeechNeed(model.n_mels, tuple(self._whisper.supported_languages)),
        )

    def listen(self, samples: Samples, task: SpeechTask, is_cancelled: Callable[[], bool]) -> Heard:
        """Returns what the task asks for; see Listener."""
        match task:
            case WindowTask():
                return read_window(self._whisper, task, samples, is_cancelled)
            case ChunkTask():
                return read_chunk(self._whisper, task, samples, is_cancelled)
            case LanguageTask():
                return language_of(self._whisper, task, samples, is_cancelled)
            case VoiceTask():
                return hear_voices(task, samples)

    def free_caches(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._whisper.model.unload_model()


def _folder_of(spec: LoadSpec) -> Path:
    """Returns the folder of the model's files. Raises: LoadFailed when one is missing.

    The library would fetch a missing tokenizer from a hub, and another one at that.
    """
    for name in FILES:
        if name not in spec.files:
            raise LoadFailed(f"the folder of model '{spec.model}' has no {name}, which whisper needs")
    if not any(name in spec.files for name in _VOCABULARIES):
        raise LoadFailed(f"the folder of model '{spec.model}' has no vocabulary.json or vocabulary.txt")
    folder = Path(spec.files["model.bin"]).parent
    for name in ("config.json", "tokenizer.json"):
        if Path(spec.files[name]).parent != folder:
            raise LoadFailed(f"{name} of model '{spec.model}' is not beside its model.bin")
    return folder


def _keep_memory() -> None:
    """Afterwards this process keeps what a window took for the next one, up to 512 MB, until told to free it.

    A window takes and frees hundreds of buffers of megabytes, and glibc gives each back to the kernel, which
    clears its pages when they are taken again: a tenth of the time. See mallopt(3) and malloc.h.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT_BYTES)):
            mallopt(option, value)


def _usual_threads(weights: str) -> int:
    return 1 if Path(weights).stat().st_size < _SMALL_BYTES else min(_MOST_THREADS, n_cores())


def _usual_slots(n_threads: int) -> int:
    cores = n_cores()
    return max(1, min(cores, _THREADS_PER_CORE * cores // n_threads))


def _usual_type(device: str, index: int) -> str:
    if device == "cpu":
        return "int8"
    able = ctranslate2.get_supported_compute_types(device, index)
    return next((name for name in _CUDA_TYPES if name in able), "default")
