"""What a Sentence-Transformers folder does with a text: `modules.json` and the files of its modules."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec

from turbov2.backends.sentence.pooling import MODES
from turbov2.backends.torch_models import file_of
from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec

# Sentence Transformers' names of pooling modes, and the flags that older folders have in their place, in the
# order in which it joins several: sentence_transformers/sentence_transformer/modules/pooling.py.
_MODE_OF_NAME = {"lasttoken": "last", "mean_sqrt_len_tokens": "mean_sqrt_len"}
_MODE_OF_FLAG = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
_NO_LIMIT = 1_000_000  # transformers writes 10^30 where there is none


class DenseStep(msgspec.Struct, frozen=True):
    """A linear layer behind the pooling, as Sentence Transformers' Dense configures it."""

    in_features: int
    out_features: int
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None
    use_residual: bool = False
    weights: str = ""  # name of its safetensors file


class NormalizeStep(msgspec.Struct, frozen=True):
    """L2 normalisation."""


class Recipe(msgspec.Struct, frozen=True):
    """How a folder's vectors are made.

    prefix: of the names of the transformer's files, "" or "0_Transformer/".
    pooling: modes whose vectors are joined, nearly always one.
    steps: what follows the pooling, in order.
    max_tokens: the folder's own limit, None if it has none.
    is_lowered: texts are put in lower case first.
    """

    prefix: str
    pooling: tuple[str, ...]
    steps: tuple[DenseStep | NormalizeStep, ...]
    max_tokens: int | None
    is_lowered: bool


class _Module(msgspec.Struct, frozen=True):
    type: str
    path: str = ""


class _TransformerConfig(msgspec.Struct, frozen=True):
    max_seq_length: int | None = None
    do_lower_case: bool = False


class _TokenizerConfig(msgspec.Struct, frozen=True):
    model_max_length: float | None = None


class _PoolingConfig(msgspec.Struct, frozen=True):
    pooling_mode: str | tuple[str, ...] = ()
    include_prompt: bool = True


T = TypeVar("T")


def read_recipe(spec: LoadSpec) -> Recipe:
    """Returns the folder's recipe; of a bare transformer, without `modules.json`, `spec.pooling` alone.

    Raises: LoadFailed when a module's file is missing or malformed, or a module is not of a kind served here.
    """
    modules = _read(spec, "modules.json", list[_Module]) if "modules.json" in spec.files else []
    prefix = _prefix(modules.pop(0), "Transformer") if modules else ""
    pooling = _pooling(spec, _prefix(modules.pop(0), "Pooling")) if modules else (spec.pooling,)
    for mode in pooling:
        if mode not in MODES:
            raise LoadFailed(f"pooling '{mode}' is not served; it is one of {', '.join(MODES)}")
    transformer = _read_if_any(spec, f"{prefix}sentence_bert_config.json", _TransformerConfig)
    return Recipe(
        prefix,
        pooling,
        tuple(_step(spec, module) for module in modules),
        transformer.max_seq_length or _tokenizer_limit(spec, prefix),
        transformer.do_lower_case,
    )


def _tokenizer_limit(spec: LoadSpec, prefix: str) -> int | None:
    limit = _read_if_any(spec, f"{prefix}tokenizer_config.json", _TokenizerConfig).model_max_length
    return int(limit) if limit is not None and limit < _NO_LIMIT else None


def _prefix(module: _Module, kind: str) -> str:
    if _kind_of(module) != kind:
        raise LoadFailed(f"modules.json has a {_kind_of(module)} where this backend needs a {kind}")
    return f"{PurePosixPath(module.path)}/" if module.path else ""


def _kind_of(module: _Module) -> str:
    return module.type.rpartition(".")[2]


def _pooling(spec: LoadSpec, prefix: str) -> tuple[str, ...]:
    name = f"{prefix}config.json"
    config = _read(spec, name, _PoolingConfig)
    if not config.include_prompt:
        raise LoadFailed("the model leaves prompts out of its pooling, which is not served")
    named = (config.pooling_mode,) if isinstance(config.pooling_mode, str) else config.pooling_mode
    if named:
        return tuple(_MODE_OF_NAME.get(mode, mode) for mode in named)
    flags = _read(spec, name, dict[str, Any])
    return tuple(mode for flag, mode in _MODE_OF_FLAG.items() if flags.get(flag)) or ("mean",)


def _step(spec: LoadSpec, module: _Module) -> DenseStep | NormalizeStep:
    if _kind_of(module) == "Normalize":
        return NormalizeStep()
    prefix = _prefix(module, "Dense")
    step = _read(spec, f"{prefix}config.json", DenseStep)
    is_pooled = step.module_input_name == (step.module_output_name or step.module_input_name)
    if not is_pooled or step.module_input_name != "sentence_embedding" or step.use_residual:
        raise LoadFailed("modules.json has a Dense that is not a plain layer behind the pooling")
    return msgspec.structs.replace(step, weights=f"{prefix}model.safetensors")


def _read_if_any(spec: LoadSpec, name: str, kind: type[T]) -> T:
    return _read(spec, name, kind) if name in spec.files else kind()


def _read(spec: LoadSpec, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file_of(spec, name).read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LoadFailed(f"{name} is not what Sentence Transformers writes") from error
