"""VisionLanguageBackend: any image-text-to-text checkpoint of transformers, one answer at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turbov2.backends.detokenizer import Detokenizer, StopTexts
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.backends.torch_models import TorchModel, context_of, folder_of
from turbov2.backends.torch_sampling import WritingOptions, config_of, end_ids_of, processors_of
from turbov2.backends.torch_writing import Writing, write
from turbov2.backends.vision_language.prompts import Prompts, n_tiles_of
from turbov2.errors import NotSupported
from turbov2.types import Finish, GenerateTask, ImageNeed, Loaded, LoadSpec, PromptCounted, Written

if TYPE_CHECKING:
    from turbov2.types.images import Pixels


class VisionLanguageBackend:
    """Implements Generator with a processor and a template from the checkpoint."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed, ModelUnavailable, OutOfMemory."""
        self._options = read_options(spec, WritingOptions)
        self._model = TorchModel(spec, self._options, "vision", folder_of(spec))
        module = self._model.module
        self._prompts = Prompts(spec, module.config.model_type)
        self._n_context = context_of(module, spec)
        self._end_ids = end_ids_of(module, self._prompts.tokenizer)
        self.loaded = Loaded(
            capabilities=("vision",),
            dtype=self._model.dtype,
            max_tokens=self._n_context,
            n_vocabulary=module.config.get_text_config().vocab_size,
            n_parameters=self._model.n_parameters,
            image=ImageNeed(),
            reply=self._prompts.reply,
        )

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Returns how the answer ended; see Generator.

        Its prompt and itself share the model's context: a longer answer ends there, with the reason "length".
        """
        began_ns = time.perf_counter_ns()
        _require_free(task)
        inputs, begun = self._prompts.encode(task, images)
        n_prompt = inputs["input_ids"].shape[1]
        n_tokens = min(task.sampling.max_tokens, self._n_context - n_prompt)
        if n_tokens < 1:
            raise too_long(n_prompt, self._n_context)
        on_written(PromptCounted(n_prompt))
        prepare_ns = time.perf_counter_ns() - began_ns
        detokenizer, stops = Detokenizer(self._prompts.decode), StopTexts(task.sampling.stop)
        writing = Writing(detokenizer, stops, self._end_ids, on_written, is_cancelled, begun)
        module = self._model.module
        config = config_of(module, task.sampling, self._options, n_tokens, self._end_ids)
        processors = processors_of(task.sampling, n_prompt)
        told = inputs.to(self._model.device, dtype=module.dtype)
        write(self._model, told, writing, config, processors, task.sampling.seed)
        return writing.finish(n_prompt, n_tiles_of(inputs), prepare_ns)

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; see Generator."""
        return int(self._prompts.encode(task, images).inputs["input_ids"].shape[1])

    def free_caches(self) -> None:
        """Afterwards the device has the memory that was kept for reuse."""
        self._model.free_caches()

    def close(self) -> None:
        """Afterwards the weights are released."""
        self._model.close()


def _require_free(task: GenerateTask) -> None:
    """Raises: NotSupported for an answer that would have to be of a certain form."""
    if task.schema is not None:
        raise NotSupported(
            "this backend cannot hold an answer to a schema; ask for it in words", param="schema"
        )
    if task.tools and task.choice.kind == "required":
        raise NotSupported(
            "this backend cannot make the model call a tool; leave the choice to it", param="tool_choice"
        )
