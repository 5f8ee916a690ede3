"""Causal rerankers beside a plain reading of the published recipes, on small models with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'sentence'")
pytest.importorskip("transformers", reason="needs the extra 'sentence'")

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from tests.support.tiny_rerank import DOCUMENTS, PAIRS, QUERY, load_spec, save_causal  # noqa: E402
from turbov2.backends.causal_rerank import CausalRerankBackend  # noqa: E402
from turbov2.backends.tokens import offsets_of  # noqa: E402
from turbov2.errors import InvalidRequest, LoadFailed  # noqa: E402
from turbov2.types import Pair, TokenBatch  # noqa: E402

Scores = np.ndarray[Any, np.dtype[np.float32]]
RECIPES = ("mxbai-v2", "qwen3")
FAMILY_OF = {"mxbai-v2": "qwen2", "qwen3": "qwen3"}
ANSWERS = {"mxbai-v2": ("1", "0"), "qwen3": ("yes", "no")}
MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each "
    "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
    "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)
QWEN_TASK = "Given a web search query, retrieve relevant passages that answer the query"
INSTRUCTED: list[Pair] = [(q, d, "prefer short texts") for q, d, _ in PAIRS]


class Reference:
    """The publishers' way: pieces tokenized, joined, padded on the left, the last position's two logits."""

    def __init__(self, folder: Path, recipe: str, max_tokens: int = 8192) -> None:
        self.recipe = recipe
        self.max_tokens = max_tokens
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        ).eval()

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def row(self, pair: Pair) -> list[int]:
        return self.mxbai_row(*pair) if self.recipe == "mxbai-v2" else self.qwen_row(*pair)

    def mxbai_row(self, query: str, document: str, instruction: str) -> list[int]:
        text = f"query: {query}"
        if instruction:
            text = f"instruction: {instruction}\n" + text
        query_ids = self.ids(text)[: self.max_tokens * 3 // 4]
        rest = self.ids("\n") + self.ids(f"document: {document}")
        too_many = len(query_ids) + len(rest) - self.max_tokens
        if too_many > 0:
            rest = rest[:-too_many]
        system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        return (
            self.ids(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
            + query_ids
            + rest
            + self.ids("\n")
            + self.ids(MXBAI_TASK)
            + self.ids("<|im_end|>\n<|im_start|>assistant\n")
        )

    def qwen_row(self, query: str, document: str, instruction: str) -> list[int]:
        system = (
            "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
            'Note that the answer can only be "yes" or "no".'
        )
        prefix = self.ids(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
        suffix = self.ids("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
        body = self.ids(f"<Instruct>: {instruction or QWEN_TASK}\n<Query>: {query}\n<Document>: {document}")
        return prefix + body[: self.max_tokens - len(prefix) - len(suffix)] + suffix

    def scores(self, rows: list[list[int]]) -> Scores:
        """Returns `[n]`: the difference of the answers' logits, of one left-padded batch."""
        width = -(-max(map(len, rows)) // 8) * 8
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[:, -1]
        yes, no = (self.ids(answer)[0] for answer in ANSWERS[self.recipe])
        return (logits[:, yes] - logits[:, no]).numpy()


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(FAMILY_OF[recipe], tmp_path_factory.mktemp(recipe))


def load(folder: Path, recipe: str, max_tokens: int | None = None, **options: Any) -> CausalRerankBackend:
    options["recipe"] = recipe
    return CausalRerankBackend(load_spec(folder, "causal_rerank", max_tokens=max_tokens, options=options))


@pytest.fixture(scope="module")
def backend(folder: Path, recipe: str) -> CausalRerankBackend:
    return load(folder, recipe)


@pytest.fixture(scope="module")
def reference(folder: Path, recipe: str) -> Reference:
    return Reference(folder, recipe)


def score(backend: CausalRerankBackend, pairs: list[Pair]) -> Scores:
    scores = backend.embed(backend.tokenize(pairs)).dense
    assert scores is not None
    assert scores.shape == (len(pairs), 1)
    assert scores.dtype == np.float32
    return scores[:, 0]


def rows_of(tokens: TokenBatch) -> list[list[int]]:
    return [row.tolist() for row in np.split(tokens.ids, offsets_of(tokens.lengths)[1:-1])]


@pytest.mark.parametrize("pairs", [PAIRS, INSTRUCTED], ids=["plain", "instructed"])
def test_ids_and_scores_are_the_recipes(backend, reference, pairs):
    expected_rows = [reference.row(pair) for pair in pairs]
    tokens = backend.tokenize(pairs)
    assert rows_of(tokens) == expected_rows
    assert tokens.full_lengths.tolist() == tokens.lengths.tolist()
    expected = reference.scores(expected_rows)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(score(backend, pairs), expected, atol=1e-5)


@pytest.mark.parametrize("room", [1, 2, 3, 4, 7, 20, 50])
def test_truncation_is_the_recipes(folder, recipe, backend, room):
    """`room` tokens beside the template: a limit that counts it for qwen3, that does not for mxbai."""
    n_template = backend.loaded.max_tokens - 8192
    if recipe == "qwen3":
        n_template = int(backend.tokenize([("", "", "")]).lengths[0])
    max_tokens = room if recipe == "mxbai-v2" else n_template + room
    small, reference = load(folder, recipe, max_tokens), Reference(folder, recipe, max_tokens)
    tokens = small.tokenize(INSTRUCTED + PAIRS)
    assert rows_of(tokens) == [reference.row(pair) for pair in INSTRUCTED + PAIRS]
    assert tokens.lengths.max() <= small.loaded.max_tokens == n_template + room
    whole = backend.tokenize(INSTRUCTED + PAIRS)
    assert tokens.full_lengths.tolist() == whole.lengths.tolist()


def test_a_very_long_document_fits_the_limit_and_keeps_the_template(folder, recipe):
    backend, reference = load(folder, recipe, 600), Reference(folder, recipe, 600)
    pair = (QUERY, "what is near the station is a fox " * 3000, "")
    tokens = backend.tokenize([pair])
    assert tokens.lengths[0] == backend.loaded.max_tokens < tokens.full_lengths[0]
    assert rows_of(tokens) == [reference.row(pair)]
    np.testing.assert_allclose(score(backend, [pair]), reference.scores([reference.row(pair)]), atol=1e-5)


def test_a_score_depends_on_its_pair_alone(backend):
    together = score(backend, PAIRS)
    alone = np.concatenate([score(backend, [pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(score(backend, PAIRS[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(score(backend, PAIRS + PAIRS)[len(PAIRS) :], together, atol=1e-5)


def test_a_thousand_documents(backend):
    documents = [DOCUMENTS[i % len(DOCUMENTS)] for i in range(1000)]
    tokens = backend.tokenize([(QUERY, document, "") for document in documents])
    scores = backend.embed(tokens).dense[:, 0]
    np.testing.assert_allclose(scores, np.resize(score(backend, PAIRS), 1000), atol=1e-5)


def test_sentence_transformers_scores_alike(folder, recipe, backend):
    """Where its one string meets no byte pair across a joint: texts that end in a letter."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra 'sentence'")
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    reference = Reference(folder, recipe)
    yes, no = (reference.ids(answer)[0] for answer in ANSWERS[recipe])
    transformer = Transformer(
        str(folder),
        transformer_task="text-generation",
        processor_kwargs={"chat_template": template(reference)},
    )
    model = sentence_transformers.CrossEncoder(modules=[transformer, LogitScore(yes, no)], device="cpu")
    pairs = [pair for pair in PAIRS if pair[1][-1:].isalpha()]
    expected = model.predict([pair[:2] for pair in pairs], activation_fn=torch.nn.Identity())
    assert len(pairs) >= 2
    np.testing.assert_allclose(score(backend, pairs), expected, atol=1e-5)


def template(reference: Reference) -> str:
    """The recipe's prompt as a chat template, which Sentence Transformers fills."""
    row = reference.row(("QUERY", "DOCUMENT", ""))
    text = reference.tokenizer.decode(row).removesuffix("\n") + "{{ '\n' }}"  # Jinja drops a bare one
    query = '{{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}'
    document = '{{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}'
    return text.replace("QUERY", query).replace("DOCUMENT", document)


def test_an_output_matrix_of_its_own_is_used(tmp_path, recipe):
    folder = save_causal(FAMILY_OF[recipe], tmp_path, is_tied=False)
    reference = Reference(folder, recipe)
    expected = reference.scores([reference.row(pair) for pair in PAIRS])
    np.testing.assert_allclose(score(load(folder, recipe), PAIRS), expected, atol=1e-5)


def test_what_is_loaded_is_told(backend, recipe):
    loaded = backend.loaded
    assert (loaded.capabilities, loaded.dimensions, loaded.dtype) == (("rerank",), 1, "float32")
    assert loaded.max_tokens > 8192 if recipe == "mxbai-v2" else loaded.max_tokens == 8192
    assert not loaded.is_padded


def test_the_models_positions_are_a_limit_too(tmp_path, recipe):
    backend = load(save_causal(FAMILY_OF[recipe], tmp_path, n_positions=800), recipe)
    assert backend.loaded.max_tokens == 800
    assert backend.tokenize([(QUERY, "fox " * 5000, "")]).lengths.tolist() == [800]


def test_half_precision_stays_near_and_can_be_asked_to_be_precise(folder, recipe, backend):
    half = load(folder, recipe, dtype="bfloat16")
    assert half.loaded.dtype == "bfloat16"
    tokens = half.tokenize(PAIRS)
    precise = half.embed(tokens, is_precise=True).dense
    assert np.abs(half.embed(tokens).dense - precise).max() > 0
    assert (
        np.corrcoef(precise[:, 0], score(backend, PAIRS))[0, 1] > 0.98
    )  # the weights themselves are rounded


def test_four_bit_weights_score_as_those_they_stand_for(folder, recipe):
    """Beside the plain recipe on the same weights, widened again. What quantising costs only real ones tell.

    Not closer, since bitsandbytes computes in bfloat16 on a CPU that has it, whatever it is asked for.
    """
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra 'nf4'")
    packed, reference = load(folder, recipe, quantization="nf4"), Reference(folder, recipe)
    n_packed = 0
    for name, parameter in packed._model.module.named_parameters():
        value = parameter.data
        if state := getattr(parameter, "quant_state", None):
            value = bitsandbytes.functional.dequantize_4bit(value, state)
            n_packed += 1
        reference.model.get_parameter(name).data.copy_(value)
    assert n_packed == 3 * 7  # every linear layer but the output matrix
    assert packed.loaded.dtype == "nf4"
    expected = reference.scores([reference.row(pair) for pair in PAIRS])
    for is_precise in (False, True):
        scores = packed.embed(packed.tokenize(PAIRS), is_precise=is_precise).dense[:, 0]
        assert np.corrcoef(scores, expected)[0, 1] > 0.99
        assert np.abs(scores - expected).max() < 0.1 * np.ptp(expected)


@pytest.mark.parametrize("inputs", [["a text"], [[1, 2]]])
def test_only_pairs_are_read(backend, inputs):
    with pytest.raises(InvalidRequest, match="pairs"):
        backend.tokenize(inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the option 'recipe'"),
        ({"recipe": "mxbai"}, "'recipe'"),
        ({"recipe": "qwen3", "layers": 3}, "no option 'layers'"),
    ],
)
def test_options_are_checked(folder, options, message):
    with pytest.raises(LoadFailed, match=message):
        CausalRerankBackend(load_spec(folder, "causal_rerank", options=options))


def test_a_limit_below_the_template_is_refused(folder):
    with pytest.raises(LoadFailed, match="raise max_tokens"):
        load(folder, "qwen3", 5)
