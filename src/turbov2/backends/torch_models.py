"""Model folders in transformers' format, loaded with torch: what all backends that use torch share.

Only `config.json` and `*.safetensors` are read, from this machine, and no code that a folder carries ever
runs. Importing this module imports torch.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from turbov2.errors import LoadFailed, ModelUnavailable, OutOfMemory
from turbov2.types import LoadSpec

logger = logging.getLogger(__name__)

ModelKind = Literal["encoder", "classifier", "causal", "vision"]

_CLASSES: dict[ModelKind, Any] = {
    "encoder": transformers.AutoModel,
    "classifier": transformers.AutoModelForSequenceClassification,
    "causal": transformers.AutoModelForCausalLM,
    "vision": transformers.AutoModelForImageTextToText,
}
_NAMES: dict[ModelKind, str] = {
    "encoder": "an encoder",
    "classifier": "a sequence classifier",
    "causal": "a causal language model",
    "vision": "a model of images and text",
}
DATA_ONLY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
# Where architectures keep their layers: BERT's family; decoders and ModernBERT; DistilBERT.
_LAYER_LISTS = ("encoder.layer", "layers", "transformer.layer")


class TorchOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How torch runs a model. A backend with options of its own derives from this."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto: float32 on a CPU, else 16 bits
    quantization: Literal["none", "nf4"] = "none"  # nf4: linear layers in 4 bits, computed in bfloat16
    attention: Literal["sdpa", "flash_attention_2"] = "sdpa"  # sdpa where flash attention cannot run
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None  # of the whole process; None: torch's choice


class TorchModel:
    """A transformers model in memory, on its device, in evaluation mode. Thread-safe through `computing`.

    module: the transformers model.
    dtype: of the weights as they are used: a torch dtype's name, or "nf4".
    n_parameters: counted before quantisation.
    n_layers: what `first_layers` can cut; 0 for an architecture whose layers are not found.
    """

    def __init__(self, spec: LoadSpec, options: TorchOptions, kind: ModelKind, folder: Path) -> None:
        """Raises: LoadFailed, ModelUnavailable, OutOfMemory."""
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._name = spec.model
        self._is_free = threading.Lock()
        self.device = _device(spec.device)
        with memory_errors(spec.model):
            module = _load(kind, folder, self.device, options)
        self.module: PreTrainedModel = module
        is_quantized = getattr(module, "is_loaded_in_4bit", False)
        self.dtype = "nf4" if is_quantized else str(module.dtype).removeprefix("torch.")
        self.n_parameters = module.num_parameters()
        self.n_layers = len(_layers_of(module) or ())

    @contextlib.contextmanager
    def computing(self, *, is_precise: bool = False) -> Iterator[None]:
        """Inside, this thread alone computes with the model, without gradients.

        Torch spreads one forward over the cores, so two at once would only delay each other.
        is_precise: in float32 throughout, which needs room for a second, temporary copy of the weights.
        Raises: OutOfMemory in place of torch's own errors.
        """
        precise = _in_float32(self.module) if is_precise else contextlib.nullcontext()
        with self._is_free, memory_errors(self._name), precise, torch.inference_mode():
            yield

    def free_caches(self) -> None:
        """Afterwards the device has the memory that torch kept for reuse."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Afterwards the weights are released."""
        del self.module
        self.free_caches()


def file_of(spec: LoadSpec, name: str) -> Path:
    """Returns where the model's file `name` is. Raises: LoadFailed when there is no such file."""
    if name not in spec.files:
        raise LoadFailed(f"the model folder has no {name}, which backend '{spec.backend}' needs")
    return Path(spec.files[name])


def folder_of(spec: LoadSpec, name: str = "config.json") -> Path:
    """Returns the folder of the model's file `name`. Raises: LoadFailed, as `file_of`."""
    return file_of(spec, name).parent


def context_of(module: PreTrainedModel, spec: LoadSpec) -> int:
    """Returns how many tokens a prompt and its answer may have. Raises: LoadFailed where nobody says."""
    known = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    lengths = [each for each in (spec.max_tokens, known) if each]
    if not lengths:
        raise LoadFailed("the model does not tell how much it reads: set `max_tokens` in the models file")
    return min(lengths)


def first_layers(module: PreTrainedModel, n_layers: int) -> PreTrainedModel:
    """Returns the model cut to its first `n_layers`, a view that shares every weight.

    Equal to loading a checkpoint without the other layers: what stands behind them, as a decoder's last
    norm, stays. Raises: LoadFailed when there are not so many, or the architecture's layers are not found.
    """
    layers = _layers_of(module)
    if layers is None:
        raise LoadFailed(f"layers of a '{module.config.model_type}' model cannot be cut")
    if not 1 <= n_layers <= len(layers):
        raise LoadFailed(f"{n_layers} layers were asked for, but the model has 1 to {len(layers)}")
    path = _path_of(module, layers)
    view = parent = _shallow(module)
    for name in path[:-1]:
        child = _shallow(getattr(parent, name))
        setattr(parent, name, child)
        parent = child
    setattr(parent, path[-1], layers[:n_layers])
    return view


@contextlib.contextmanager
def memory_errors(model: str) -> Iterator[None]:
    """Inside, torch's want of memory becomes an OutOfMemory."""
    try:
        yield
    except RuntimeError as error:  # on a CPU torch has no class of its own for it
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemory(f"model '{model}' ran out of memory", retry_after_s=5) from error


def _device(name: str) -> torch.device:
    if name != "cpu" and not torch.cuda.is_available():
        raise ModelUnavailable(f"device '{name}' cannot be used: this torch finds no CUDA device; use 'cpu'")
    return torch.device(name)


def _load(kind: ModelKind, folder: Path, device: torch.device, options: TorchOptions) -> PreTrainedModel:
    dtype = _dtype(options, device)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # what matters of its reports is checked below
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **DATA_ONLY)
        # What the file says is ignored: it may name a kernel, code that transformers would fetch and run.
        config._attn_implementation = _attention(options, device, dtype)
        module, report = _CLASSES[kind].from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            quantization_config=_quantization(options),
            device_map={"": device} if options.quantization == "nf4" else None,
            use_safetensors=True,
            output_loading_info=True,
            **DATA_ONLY,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        logger.exception("transformers did not load the folder")
        raise LoadFailed(
            f"the folder does not load as {_NAMES[kind]}: config.json or *.safetensors is missing, bad or "
            "of an architecture that this version of transformers does not know"
        ) from error
    if kind == "encoder" and getattr(module, "pooler", None) is not None:
        module.pooler = None  # pooling is done from the hidden states; many checkpoints lack its weights
    _require_whole(report["missing_keys"], kind)
    return (module if options.quantization == "nf4" else module.to(device)).eval()


def _require_whole(missing: set[str], kind: ModelKind) -> None:
    """Raises: LoadFailed if transformers had to invent weights, which it does at random."""
    invented = sorted(key for key in missing if kind != "encoder" or not key.startswith("pooler."))
    if invented:
        raise LoadFailed(
            f"the weights lack {len(invented)} tensors that {_NAMES[kind]} has, as {invented[0]}"
        )


def _dtype(options: TorchOptions, device: torch.device) -> torch.dtype:
    if options.quantization == "nf4":
        return torch.bfloat16  # of what is not quantised
    if options.dtype != "auto":
        return getattr(torch, options.dtype)
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _attention(options: TorchOptions, device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns the attention asked for; None is sdpa, or eager where the architecture has no sdpa."""
    if options.attention == "sdpa":
        return None
    if device.type == "cuda" and dtype != torch.float32 and is_flash_attn_2_available():
        return options.attention
    logger.warning("flash attention needs CUDA, 16-bit weights and the flash-attn package: using sdpa")
    return None


def _quantization(options: TorchOptions) -> transformers.BitsAndBytesConfig | None:
    """Returns NF4's settings. The library's defaults (FP4, computed in float32) are slower and less exact."""
    if options.quantization == "none":
        return None
    try:
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    except ImportError as error:
        message = "NF4 needs bitsandbytes: pip install 'deposium-embeddings-turbov2[nf4]'"
        raise ModelUnavailable(message) from error


@contextlib.contextmanager
def _in_float32(module: PreTrainedModel) -> Iterator[None]:
    """Inside, every weight is float32 and 4-bit layers compute in it; afterwards all is as it was."""
    stored = [(p, p.data) for p in module.parameters() if p.is_floating_point() and p.dtype != torch.float32]
    quantized = [m for m in module.modules() if getattr(m, "compute_dtype", None) == torch.bfloat16]
    try:
        for parameter, data in stored:
            parameter.data = data.float()
        for layer in quantized:
            layer.compute_dtype = torch.float32
        yield
    finally:
        for parameter, data in stored:
            parameter.data = data
        for layer in quantized:
            layer.compute_dtype = torch.bfloat16


def _layers_of(module: torch.nn.Module) -> torch.nn.ModuleList | None:
    for path in _LAYER_LISTS:
        with contextlib.suppress(AttributeError):
            found = module.get_submodule(path)
            if isinstance(found, torch.nn.ModuleList):
                return found
    return None


def _path_of(module: torch.nn.Module, wanted: torch.nn.Module) -> list[str]:
    path: str = next(name for name, child in module.named_modules() if child is wanted)
    return path.split(".")


def _shallow(module: Any) -> Any:
    """Returns a module with the same children and weights whose children can be replaced."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    return view
