"""VisionLanguageBackend: any image-text-to-text checkpoint of transformers, one answer at a time."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import torch
import transformers

from turbov2.backends.detokenizer import Detokenizer, StopTexts
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.backends.torch_models import TorchModel, TorchOptions, folder_of
from turbov2.backends.vision_language.prompts import Prompts, n_tiles_of
from turbov2.backends.vision_language.writing import Cancelled, Writing, heeding
from turbov2.types import Finish, GenerateTask, ImageNeed, Loaded, LoadSpec, Sampling

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class VisionLanguageOptions(TorchOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold: how to sample where a request does not say.

    None: as the checkpoint's generation_config.json says, and greedy where that says nothing.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    min_p: _Fraction | None = None
    top_p: _Fraction | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None


class VisionLanguageBackend:
    """Implements Generator with a processor and a template from the checkpoint."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed, ModelUnavailable, OutOfMemory."""
        self._options = read_options(spec, VisionLanguageOptions)
        self._model = TorchModel(spec, self._options, "vision", folder_of(spec))
        module = self._model.module
        self._prompts = Prompts(spec, module.config.model_type)
        config = module.config.get_text_config()
        self._n_context = min(
            spec.max_tokens or config.max_position_embeddings, config.max_position_embeddings
        )
        self._end_ids = _end_ids(module, self._prompts)
        self.loaded = Loaded(
            capabilities=("vision",),
            dtype=self._model.dtype,
            max_tokens=self._n_context,
            n_vocabulary=config.vocab_size,
            n_parameters=self._model.n_parameters,
            image=ImageNeed(),
        )

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_text: Callable[[str], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Returns how the answer ended; see Generator.

        Its prompt and itself share the model's context: a longer answer ends there, with the reason "length".
        """
        began_ns = time.perf_counter_ns()
        inputs = self._prompts.encode(task, images)
        n_prompt = inputs["input_ids"].shape[1]
        n_tokens = min(task.sampling.max_tokens, self._n_context - n_prompt)
        if n_tokens < 1:
            raise too_long(n_prompt, self._n_context)
        prepare_ns = time.perf_counter_ns() - began_ns
        detokenizer, stops = Detokenizer(self._prompts.decode), StopTexts(task.sampling.stop)
        writing = Writing(detokenizer, stops, self._end_ids, on_text, is_cancelled)
        with (
            self._model.computing(),
            heeding(self._model.module, writing.check),
            contextlib.suppress(Cancelled),
        ):
            _seed(task.sampling.seed)
            self._model.module.generate(
                **inputs.to(self._model.device, dtype=self._model.module.dtype),
                generation_config=self._config(task.sampling, n_tokens),
                streamer=writing,
                stopping_criteria=transformers.StoppingCriteriaList([writing]),
            )
        return writing.finish(n_prompt, n_tiles_of(inputs), prepare_ns)

    def free_caches(self) -> None:
        """Afterwards the device has the memory that was kept for reuse."""
        self._model.free_caches()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._model.close()

    def _config(self, sampling: Sampling, n_tokens: int) -> Any:
        """Returns the library's settings: the request's, else the options', else the checkpoint's own."""
        config = copy.deepcopy(self._model.module.generation_config)
        for name in ("temperature", "top_k", "min_p", "top_p", "repetition_penalty"):
            asked = getattr(sampling, name)
            chosen = getattr(self._options, name) if asked is None else asked
            if chosen is not None:
                setattr(config, name, chosen)
                config.do_sample = chosen > 0 if name == "temperature" else config.do_sample
        if not config.do_sample:
            config.do_sample, config.temperature, config.min_p, config.top_p, config.top_k = (
                False,
                *[None] * 4,
            )
        config.max_length, config.max_new_tokens = None, n_tokens
        config.eos_token_id = sorted(self._end_ids)
        if config.pad_token_id is None:
            config.pad_token_id = config.eos_token_id[0] if config.eos_token_id else 0
        return config


def _end_ids(module: Any, prompts: Prompts) -> Collection[int]:
    """Returns the tokens that end an answer."""
    told = module.generation_config.eos_token_id
    if told is None:
        told = prompts.tokenizer.eos_token_id
    return frozenset([told] if isinstance(told, int) else told or ())


def _seed(seed: int | None) -> None:
    """Afterwards chance repeats for a seed; without one, no process repeats another's."""
    if seed is None:
        torch.seed()
    else:
        torch.manual_seed(seed)
