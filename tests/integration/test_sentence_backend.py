"""What holds of the sentence backend whatever the model: invariances, dtypes, threads, and refusals."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'sentence'")
pytest.importorskip("transformers", reason="needs the extra 'sentence'")

import torch  # noqa: E402
import transformers  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.support.tiny_sentence import save_sentence, save_transformer, spec_of  # noqa: E402
from turbov2.backends.packed import hidden_states, pack  # noqa: E402
from turbov2.backends.protocol import Embedder  # noqa: E402
from turbov2.backends.sentence import SentenceBackend  # noqa: E402
from turbov2.backends.torch_models import TorchModel, TorchOptions, first_layers, folder_of  # noqa: E402
from turbov2.errors import InvalidRequest, LoadFailed, ModelUnavailable, OutOfMemory, TurboError  # noqa: E402
from turbov2.types import EmbedTask, TokenBatch  # noqa: E402

LAST = {"pooling_mode_lasttoken": True}
TEXTS = ["The quick brown fox.", "", "a dog " * 30, "機械学習", "jumps over the lazy dog", "x"]


@pytest.fixture(scope="module", params=["bert", "qwen3", "mpnet"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SentenceBackend:
    pooling = LAST if request.param == "qwen3" else None
    folder = save_sentence(tmp_path_factory.mktemp("model"), request.param, pooling, is_normalized=True)
    return SentenceBackend(spec_of(folder))


def dense(backend: SentenceBackend, tokens: TokenBatch, **kwargs: Any) -> np.ndarray:
    vectors = backend.embed(tokens, **kwargs).dense
    assert vectors is not None
    return vectors


def joined(*batches: TokenBatch) -> TokenBatch:
    return TokenBatch(
        np.concatenate([b.ids for b in batches]),
        np.concatenate([b.lengths for b in batches]),
        np.concatenate([b.full_lengths for b in batches]),
    )


def test_it_is_an_embedder(backend: SentenceBackend) -> None:
    assert isinstance(backend, Embedder)
    assert backend.loaded.dtype == "float32"
    assert backend.loaded.dimensions == 32
    assert backend.loaded.outputs == ("dense", "tokens")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=8), data=st.data())
def test_a_vector_depends_on_its_text_alone(backend: SentenceBackend, texts: list[str], data: Any) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    order = data.draw(st.permutations(range(len(texts))))
    together = dense(backend, backend.tokenize(texts))
    shuffled = dense(backend, joined(*(backend.tokenize([texts[i]]) for i in order)))
    alone = np.concatenate([dense(backend, backend.tokenize([text])) for text in texts])
    assert np.abs(together - alone).max() <= 1e-5
    assert np.abs(shuffled - together[list(order)]).max() <= 1e-5


def test_ids_give_what_their_text_gives(backend: SentenceBackend) -> None:
    text = backend.tokenize(["jumps over the lazy dog"])
    empty = backend.tokenize([""])
    inner = text.ids[1:-1] if empty.lengths[0] == 2 else text.ids[:-1]
    assert backend.tokenize([inner.tolist()]).ids.tolist() == text.ids.tolist()
    with pytest.raises(InvalidRequest, match="token id"):
        backend.tokenize([[10_000]])


def test_a_long_text_is_cut_and_keeps_its_special_tokens(backend: SentenceBackend) -> None:
    tokens = backend.tokenize(["fox " * 25_000, "fox"])
    assert tokens.lengths.max() == backend.loaded.max_tokens == 64
    assert tokens.full_lengths[0] >= 25_000
    ends = np.cumsum(tokens.lengths) - 1
    assert tokens.ids[ends[0]] == tokens.ids[ends[1]]
    assert np.isfinite(dense(backend, tokens)).all()


def test_no_rows_and_rows_without_tokens_have_vectors_too(backend: SentenceBackend) -> None:
    assert dense(backend, backend.tokenize([])).shape == (0, 32)
    nothing = TokenBatch(np.zeros(0, np.int32), np.zeros(2, np.int32), np.zeros(2, np.int32))
    assert not dense(backend, nothing).any()
    mixed = dense(backend, joined(nothing, backend.tokenize(["fox"]), nothing))
    assert np.abs(mixed[2] - dense(backend, backend.tokenize(["fox"]))[0]).max() <= 1e-5
    assert not np.delete(mixed, 2, axis=0).any()


def test_token_vectors_are_the_normalised_last_states(backend: SentenceBackend) -> None:
    tokens = backend.tokenize(TEXTS)
    both = backend.embed(tokens, EmbedTask(("dense", "tokens")))
    alone = backend.embed(tokens, EmbedTask(("tokens",)))
    assert both.tokens is not None
    assert both.tokens.lengths.tolist() == tokens.lengths.tolist()
    assert np.abs(np.linalg.norm(both.tokens.vectors, axis=1) - 1).max() <= 1e-5
    assert alone.dense is None
    assert np.array_equal(alone.tokens.vectors, both.tokens.vectors)
    if backend.loaded.pooling == "last":  # then a text's vector is its last token's
        assert np.abs(both.tokens.vectors[np.cumsum(tokens.lengths) - 1] - both.dense).max() <= 1e-5


def test_several_threads_get_what_one_gets(backend: SentenceBackend) -> None:
    batches = [backend.tokenize(TEXTS[i:] + TEXTS[:i]) for i in range(6)] * 4
    expected = [dense(backend, batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        is_precise = [i % 3 == 0 for i in range(len(batches))]
        got = list(threads.map(lambda b, p: dense(backend, b, is_precise=p), batches, is_precise))
    for one, other in zip(got, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "qwen2", "qwen3"])
def test_packed_states_equal_padded_ones(tmp_path: Path, architecture: str, side: str) -> None:
    folder = save_transformer(tmp_path, architecture)
    padded = transformers.AutoModel.from_pretrained(folder).eval()
    spec = spec_of(folder)
    model = TorchModel(spec, TorchOptions(), "encoder", folder_of(spec))
    assert pack(model.module)
    lengths = np.array([5, 1, 9, 0, 5, 3], np.int32)
    ids = np.random.default_rng(0).integers(5, 300, lengths.sum()).astype(np.int32)
    with model.computing():
        states = hidden_states(model.module, ids, lengths)
    mask = torch.arange(9)[None] < torch.from_numpy(lengths)[:, None]
    mask = mask.flip(1) if side == "left" else mask
    rows = torch.ones(mask.shape, dtype=torch.int64)
    rows[mask] = torch.from_numpy(ids.astype(np.int64))
    start = 2 if architecture == "xlm-roberta" else 0
    places = (mask.cumsum(1) - 1).clamp(min=0) + start
    with torch.inference_mode():
        expected = padded(input_ids=rows, attention_mask=mask.long(), position_ids=places).last_hidden_state
    assert (states - expected[mask]).abs().max() <= 1e-5 * expected.abs().max()


def test_cut_layers_share_the_weights(tmp_path: Path) -> None:
    backend = SentenceBackend(spec_of(save_sentence(tmp_path, "bert")))
    module = backend._model.module
    view = first_layers(module, 2)
    kept = {p.data_ptr() for p in module.parameters()}
    assert {p.data_ptr() for p in view.parameters()} < kept
    assert (len(view.encoder.layer), len(module.encoder.layer)) == (2, 3)
    for wrong in (0, 4):
        with pytest.raises(LoadFailed, match=f"{wrong} layers"):
            backend.embed(backend.tokenize(TEXTS), EmbedTask(layers=wrong))


def test_nf4_is_a_model_of_rounded_weights(tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra 'nf4'").functional
    shape = {"hidden_size": 256, "intermediate_size": 512, "initializer_range": 0.02, "head_dim": 64}
    folder = save_sentence(tmp_path / "model", "qwen3", LAST, is_normalized=True, **shape)
    rounded = transformers.AutoModel.from_pretrained(folder).bfloat16()
    for linear in (m for m in rounded.modules() if isinstance(m, torch.nn.Linear)):
        packed, state = bitsandbytes.quantize_4bit(
            linear.weight.data, quant_type="nf4", compress_statistics=True
        )
        state.dtype = torch.float32
        linear.weight.data = bitsandbytes.dequantize_4bit(packed, state)
    other = save_sentence(tmp_path / "rounded", "qwen3", LAST, is_normalized=True, **shape)
    rounded.float().save_pretrained(other)
    whole = SentenceBackend(spec_of(folder))
    small = SentenceBackend(spec_of(folder, options={"quantization": "nf4"}))
    assert small.loaded.dtype == "nf4"
    assert small.loaded.n_parameters == whole.loaded.n_parameters
    tokens = whole.tokenize(TEXTS)
    expected, before = dense(SentenceBackend(spec_of(other)), tokens), dense(small, tokens)
    assert (before * expected).sum(axis=1).min() >= 0.999  # computed in bfloat16
    assert (dense(small, tokens, is_precise=True) * expected).sum(axis=1).min() >= 0.9999
    assert np.array_equal(dense(small, tokens), before)
    # How near depends on the model; small ones lose most (0.965 in the mean for MiniLM's 22 million weights).
    assert (before * dense(whole, tokens)).sum(axis=1).min() >= 0.95


def test_want_of_memory_is_an_error_of_its_own(tmp_path: Path) -> None:
    spec = spec_of(save_sentence(tmp_path, "bert"))
    model = TorchModel(spec, TorchOptions(), "encoder", folder_of(spec))
    with pytest.raises(OutOfMemory, match="'tiny' ran out of memory"), model.computing():
        torch.empty(1 << 60)
    done = threading.Event()
    with model.computing():  # and the model is free again
        done.set()
    assert done.is_set()


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refusal(folder: Path, **fields: Any) -> str:
    with pytest.raises(TurboError) as caught:
        SentenceBackend(spec_of(folder, **fields))
    assert isinstance(caught.value, LoadFailed | ModelUnavailable)
    assert str(folder) not in caught.value.message
    return caught.value.message


def test_options_are_checked(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "bert")
    assert "no option 'speed'; it has dtype, quantization" in refusal(folder, options={"speed": 2})
    for option in ({"dtype": "int8"}, {"threads": 0}, {"quantization": None}):
        assert f"option '{next(iter(option))}'" in refusal(folder, options=option)
    if not torch.cuda.is_available():
        assert "'cuda:0'" in refusal(folder, device="cuda:0")
    backend = SentenceBackend(spec_of(folder, options={"attention": "flash_attention_2"}))
    assert backend.loaded.dtype == "float32"  # on a CPU sdpa runs in its place


def test_weights_that_would_be_invented_are_refused(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "bert")
    edit(folder / "config.json", num_hidden_layers=4)
    assert "lack 16 tensors" in refusal(folder)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path / "a", "bert")
    (folder / "model.safetensors").write_bytes(b"not weights")
    assert "does not load as an encoder" in refusal(folder)
    folder = save_sentence(tmp_path / "b", "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "does not load as an encoder" in refusal(folder)
    folder = save_sentence(tmp_path / "c", "bert")
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)
    folder = save_sentence(tmp_path / "d", "bert", vocab_size=100)
    assert "not of one model" in refusal(folder)
    folder = save_sentence(tmp_path / "e", "bert")
    edit(folder / "config.json", model_type="none-such", auto_map={"AutoConfig": "evil.Config"})
    (folder / "evil.py").write_text("raise SystemExit('code of the folder ran')")
    assert "does not load as an encoder" in refusal(folder)


def test_no_kernel_that_a_folder_names_is_fetched(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "bert")
    edit(folder / "config.json", attn_implementation="evil/kernel", _attn_implementation="evil/kernel")
    backend = SentenceBackend(spec_of(folder))
    assert np.isfinite(dense(backend, backend.tokenize(TEXTS))).all()


def test_modules_that_are_not_served_are_refused(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "bert", dense=(32, 20))
    good = {path: path.read_text() for path in folder.rglob("*.json")}
    modules = json.loads(good[folder / "modules.json"])
    kinds = ["sentence_transformers.models.LSTM", *(m["type"] for m in modules[1:])]
    sizes = {"in_features": 32, "out_features": 20}
    for words, path, value in (
        ("has a LSTM", "modules.json", [{**m, "type": k} for m, k in zip(modules, kinds, strict=True)]),
        ("has a Transformer", "modules.json", [*modules, modules[0]]),
        ("modules.json is not what", "modules.json", {"a": 1}),
        ("pooling 'median'", "1_Pooling/config.json", {"pooling_mode": "median"}),
        ("leaves prompts out", "1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}),
        ("activation 'os.system'", "2_Dense/config.json", {**sizes, "activation_function": "os.system"}),
        ("from 32 to 21", "2_Dense/config.json", {**sizes, "out_features": 21}),
        ("plain layer", "2_Dense/config.json", {**sizes, "use_residual": True}),
    ):  # fmt: skip
        (folder / path).write_text(json.dumps(value))
        assert words in refusal(folder)
        (folder / path).write_text(good[folder / path])
    (folder / "2_Dense" / "model.safetensors").unlink()
    assert "has no 2_Dense/model.safetensors" in refusal(folder)


def test_last_token_pooling_needs_a_token_of_its_own_at_the_end(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "qwen3", LAST)
    SentenceBackend(spec_of(folder))
    edit(folder / "tokenizer.json", post_processor=None)
    assert "post-processor must append" in refusal(folder)
    folder = save_sentence(tmp_path / "b", "qwen3", LAST, eos_token_id=7, pad_token_id=7)
    SentenceBackend(
        spec_of(folder)
    )  # Qwen3-Embedding's own mismatch: it ends in <|endoftext|>, the pad token
