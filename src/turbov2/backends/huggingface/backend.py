"""HuggingFaceBackend: any causal language model of transformers, several answers at a time where it can."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import torch
from llguidance import LLTokenizer

from turbov2.backends.constraints import grammar_of
from turbov2.backends.detokenizer import Detokenizer, StopTexts
from turbov2.backends.huggingface.choosing import Choice
from turbov2.backends.huggingface.constraint import Constraint
from turbov2.backends.huggingface.prompts import Prompts
from turbov2.backends.huggingface.sharing import open_slots
from turbov2.backends.huggingface.steps import Answer, Steps
from turbov2.backends.options import read_options
from turbov2.backends.prompt_errors import too_long
from turbov2.backends.slots import USUAL_CONTEXT
from turbov2.backends.token_prompts import Encoded
from turbov2.backends.torch_models import TorchModel, context_of, folder_of
from turbov2.backends.torch_sampling import (
    LogitsProcessor,
    WritingOptions,
    config_of,
    end_ids_of,
    processors_of,
)
from turbov2.backends.torch_writing import Writing, write
from turbov2.types import Finish, GenerateTask, Loaded, LoadSpec, PromptCounted, Written

if TYPE_CHECKING:
    from turbov2.types.images import Pixels


class HuggingFaceOptions(WritingOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold."""

    n_slots: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None  # None: see turbov2.backends.slots


class HuggingFaceBackend:
    """Implements Generator with the tokenizer and the template that lie beside the weights."""

    def __init__(self, spec: LoadSpec) -> None:
        """Raises: LoadFailed, ModelUnavailable, OutOfMemory."""
        self._options = read_options(spec, HuggingFaceOptions)
        self._prompts = Prompts(spec)  # first, for it is soon read
        self._model = TorchModel(spec, self._options, "causal", folder_of(spec))
        module = self._model.module
        self._n_context = _n_context(module, spec)
        slots = open_slots(self._model, self._n_context, self._options.n_slots)
        self._steps = Steps(self._model, slots) if slots else None
        self._end_ids = end_ids_of(module, self._prompts.library_tokenizer)
        self.loaded = Loaded(
            capabilities=("generate",),
            dtype=self._model.dtype,
            max_tokens=self._n_context,
            n_vocabulary=module.config.get_text_config().vocab_size,
            n_parameters=self._model.n_parameters,
            reply=self._prompts.reply,
            n_slots=len(slots) or 1,
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
        prompt = self._prompts.encode(task)
        n_prompt = len(prompt.ids)
        n_tokens = min(task.sampling.max_tokens, self._n_context - n_prompt)
        if n_tokens < 1:
            raise too_long(n_prompt, self._n_context)
        on_written(PromptCounted(n_prompt))
        processors = [*processors_of(task.sampling, n_prompt), *self._constraints(task, prompt)]
        prepare_ns = time.perf_counter_ns() - began_ns
        detokenizer = Detokenizer(self._prompts.tokenizer.decode)
        stops = StopTexts(task.sampling.stop)
        writing = Writing(detokenizer, stops, self._end_ids, on_written, is_cancelled, prompt.begun)
        config = config_of(self._model.module, task.sampling, self._options, n_tokens, self._end_ids)
        seed = task.sampling.seed
        if self._steps is None:
            write(self._model, self._inputs(prompt), writing, config, processors, seed)
        else:
            choice = Choice(self._model.module, config, n_prompt, processors, seed)
            self._steps.write(Answer(prompt.ids, n_tokens, choice.token, writing, self._model.device))
        return writing.finish(n_prompt, 0, prepare_ns)

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; see Generator."""
        return len(self._prompts.encode(task).ids)

    def free_caches(self) -> None:
        """Afterwards the device has the memory that was kept for reuse."""
        self._model.free_caches()

    def close(self) -> None:
        """Afterwards the weights are released."""
        if self._steps is not None:
            self._steps.close()
        self._model.close()

    def _inputs(self, prompt: Encoded) -> dict[str, torch.Tensor]:
        ids = torch.tensor([prompt.ids], device=self._model.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def _constraints(self, task: GenerateTask, prompt: Encoded) -> list[LogitsProcessor]:
        if task.schema is None and not task.tools:
            return []
        marks = {
            mark: f"<[{token_id}]>"
            for mark, token_id in self._prompts.tokenizer.mark_ids.items()
            if self._vocabulary.is_special_token(token_id)
        }
        grammar = grammar_of(task, self.loaded.reply, prompt.begun, marks)
        return [Constraint(self._vocabulary, grammar, len(prompt.ids))] if grammar else []

    @functools.cached_property
    def _vocabulary(self) -> LLTokenizer:
        """Returns the vocabulary as grammars read it, which takes a second."""
        eos_id = self._prompts.library_tokenizer.eos_token_id
        end_id = eos_id if eos_id in self._end_ids else min(self._end_ids, default=None)
        return LLTokenizer(self._prompts.tokenizer.to_json(), eos_token=end_id)


def _n_context(module: Any, spec: LoadSpec) -> int:
    """Returns how many tokens a prompt and its answer may have. Raises: LoadFailed where nobody says."""
    n_tokens = context_of(module, spec)
    return n_tokens if spec.max_tokens else min(n_tokens, USUAL_CONTEXT)
