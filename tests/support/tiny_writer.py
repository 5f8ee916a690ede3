"""Small language models with random weights that chat, of the exact classes that the real ones have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import AddedToken, Tokenizer

from tests.support.chat_templates import TAGS
from tests.support.tiny_tokenizers import save_tokenizer
from tests.support.words import Words
from turbov2.backends.huggingface import HuggingFaceBackend
from turbov2.types import Finish, GenerateTask, PromptMessage, Sampling, TextPart

Family = Literal["qwen2", "llama", "gemma", "gpt2", "mixtral", "phi", "qwen3"]

N_POSITIONS = 512
QUESTION = "What is near the station? 機械学習は面白い。"
N_TOKENS = 64
_MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
_SIZES: dict[str, Any] = {
    "hidden_size": 64,  # the least that 4-bit blocks fit into
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": N_POSITIONS,
    "initializer_range": 0.5,  # else every token is as likely as any other
}


def save_writer(
    family: Family,
    folder: Path,
    template: str = TAGS,
    *,
    are_marks_special: bool = False,
    tokenizer_family: str = "qwen",
    n_words: int = 0,
    **sizes: Any,
) -> Path:
    """Writes a whole checkpoint: weights, tokenizer, template. Returns the folder.

    are_marks_special: marks of calls and thoughts are special tokens, as some makers have them.
    n_words: further ones of the vocabulary. sizes: of the model's config, in place of the tiny ones.
    """
    save_tokenizer(tokenizer_family, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(mark, special=are_marks_special) for mark in _MARKS])
    tokenizer.add_special_tokens(["<|eot_id|>"])
    tokenizer.add_tokens([f" word{number}" for number in range(n_words)])
    tokenizer.post_processor = None
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template)
    n_vocabulary = tokenizer.get_vocab_size() + 21  # as makers round it up
    sizes = _SIZES | {"vocab_size": n_vocabulary, "tie_word_embeddings": True} | sizes
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(family, **sizes))
    end = "<|im_end|>" if tokenizer_family == "qwen" else "<|eot_id|>"
    model.generation_config.eos_token_id = tokenizer.token_to_id(end)
    model.save_pretrained(folder)
    return folder


def ask(text: str = QUESTION, **sampling: Any) -> GenerateTask:
    """Returns a question, to be answered by the likeliest text unless `sampling` says otherwise."""
    fields = {"max_tokens": N_TOKENS, "temperature": 0.0, **sampling}
    return GenerateTask((PromptMessage("user", (TextPart(text),)),), Sampling(**fields))


def write(backend: HuggingFaceBackend, task: GenerateTask) -> tuple[str, Finish]:
    """Returns the answer and how it ended."""
    pieces = Words()
    finish = backend.generate(task, [], pieces.take, lambda: False)
    pieces.check(finish)
    return "".join(pieces), finish


def generated(backend: HuggingFaceBackend, task: GenerateTask | None = None, **settings: Any) -> list[int]:
    """Returns the ids that the library's `generate` gives for the same prompt, with the seed 5."""
    task = task or ask()
    prompt = torch.tensor([backend._prompts.encode(task).ids])
    torch.manual_seed(5)
    with torch.inference_mode():
        ids = library_model(backend).generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=task.sampling.max_tokens,
            **settings,
        )
    return list(ids[0, prompt.shape[1] :].tolist())


def library_model(backend: HuggingFaceBackend) -> Any:
    """Returns the model as the library loads it."""
    module: Any = backend._model.module
    quantization = getattr(module.config, "quantization_config", None)
    return transformers.AutoModelForCausalLM.from_pretrained(
        module.name_or_path, dtype=module.dtype, quantization_config=quantization
    )


def text_of(backend: HuggingFaceBackend, ids: Sequence[int]) -> str:
    """Returns the ids as text, without control tokens."""
    return str(backend._prompts.library_tokenizer.decode(ids, skip_special_tokens=True))
