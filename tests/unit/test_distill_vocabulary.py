"""The static tokenizer of each kind of teacher: the same pieces, renumbered without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from tokenizers import Tokenizer

from tests.support.teachers import CORPUS, byte_level, unigram, word_piece
from turbov2.errors import InvalidRequest, LoadFailed
from turbov2.recipes.reduce import principal_components, to_dtype, zipf_weights
from turbov2.recipes.vocabulary import Vocabulary, build_vocabulary

TEXTS = [*CORPUS, "", "foxes jumped", "unknown ☃ snowman", "  two  spaces ", "the kubectl tool", "kubectl"]


TEACHERS = {
    "word_piece": (word_piece, "[PAD]"),
    "byte_level": (byte_level, None),
    "unigram": (unigram, "<pad>"),
}

KNOWN = {"word_piece": "the", "byte_level": "t", "unigram": "o"}  # a text that is one token


def build(kind: str, *words: str) -> tuple[Tokenizer, Tokenizer, Vocabulary]:
    """Returns the teacher's tokenizer, the static one, and what the teacher reads."""
    make, padding = TEACHERS[kind]
    teacher = make()
    vocabulary = build_vocabulary(teacher.to_str().encode(), padding, words)
    teacher.no_padding()
    teacher.no_truncation()
    return teacher, Tokenizer.from_buffer(vocabulary.tokenizer), vocabulary


@pytest.mark.parametrize("kind", TEACHERS)
def test_cuts_texts_as_the_teacher_does(kind: str) -> None:
    teacher, static, vocabulary = build(kind)
    assert sorted(static.get_vocab().values()) == list(range(len(vocabulary.inputs)))
    for text in TEXTS:
        # Byte-level ones read the first word as any other, as Model2Vec has them do.
        whole = f" {text}" if kind == "byte_level" and text[:1] not in ("", " ") else text
        wanted = teacher.encode(whole, add_special_tokens=False).tokens
        assert static.encode(text).tokens == wanted, text


@pytest.mark.parametrize("kind", TEACHERS)
def test_each_row_is_its_token_in_the_teachers_template(kind: str) -> None:
    teacher, static, vocabulary = build(kind)
    known = teacher.encode(KNOWN[kind])
    place, ids = known.special_tokens_mask.index(0), known.ids
    for token, row in static.get_vocab().items():
        read = list(vocabulary.inputs[row])
        assert teacher.id_to_token(read[place]) == token
        read[place] = ids[place]
        assert read == ids


@pytest.mark.parametrize("kind", TEACHERS)
def test_only_tokens_that_texts_reach_have_rows_beside_unknown_and_padding(kind: str) -> None:
    tokens = set(build(kind)[1].get_vocab())
    assert not tokens & {"[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", "<s>", "</s>", "<mask>"}
    assert not tokens & {"<|im_start|>", "<|endoftext|>"}
    assert {"word_piece": {"[PAD]", "[UNK]"}, "byte_level": set(), "unigram": {"<pad>", "<unk>"}}[
        kind
    ] <= tokens


@pytest.mark.parametrize("kind", TEACHERS)
def test_words_of_ones_own(kind: str) -> None:
    teacher, static, vocabulary = build(kind, "kubectl", "static table", "kubectl", KNOWN[kind])
    n_tokens = len(vocabulary.inputs)
    assert static.token_to_id("kubectl") == n_tokens - 2  # known ones and repeats add nothing
    assert static.token_to_id("static table") == n_tokens - 1
    assert vocabulary.inputs[-2] == tuple(teacher.encode("kubectl").ids)
    ids = static.encode("the kubectl tool has a static table").ids
    assert ids.count(n_tokens - 2) == ids.count(n_tokens - 1) == 1
    assert n_tokens - 2 not in static.encode("kubectls akubectl").ids  # whole words only
    plain = static.encode("the").ids + static.encode("kubectl").ids + static.encode("dog").ids
    assert static.encode("the kubectl dog").ids == plain  # no stray tokens for the spaces around


def test_bad_input_is_named() -> None:
    with pytest.raises(LoadFailed, match=r"tokenizer\.json"):
        build_vocabulary(b"{}", None)
    with pytest.raises(InvalidRequest, match="at most"):
        build("word_piece", "x" * 90 + " " + "fox " * 70)


def test_components_are_those_of_the_definition() -> None:
    random = np.random.default_rng(0)
    vectors = (random.standard_normal((500, 12)) @ random.standard_normal((12, 12)) + 5).astype(np.float32)
    scores, kept = principal_components(vectors, 5)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    wanted = u[:, :5] * s[:5]
    np.testing.assert_allclose(np.abs(scores), np.abs(wanted), atol=1e-3)
    assert kept == pytest.approx((s[:5] ** 2).sum() / (s**2).sum(), rel=1e-6)
    assert (scores[np.abs(scores).argmax(axis=0), range(5)] > 0).all()


@pytest.mark.parametrize(
    ("shape", "n", "complaint"), [((50, 8), 9, "more than the teacher has: 8"), ((8, 20), 8, "8 tokens")]
)
def test_too_many_components(shape: tuple[int, int], n: int, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        principal_components(np.zeros(shape, np.float32), n)


def test_weights_and_dtypes() -> None:
    weights = zipf_weights(3, 0.1)
    shares = np.array([1 / 2, 1 / 3, 1 / 4]) / (1 / 2 + 1 / 3 + 1 / 4)
    np.testing.assert_allclose(weights, 0.1 / (0.1 + shares))
    assert (zipf_weights(4, 0) == 1).all()
    table = np.array([[1.0, -2.0], [0.5, 0.004]], np.float32)
    assert to_dtype(table, "int8").tolist() == [[64, -127], [32, 0]]
    assert to_dtype(table, "float16").dtype == np.float16


def test_the_tokenizer_is_plain_json() -> None:
    definition: dict[str, Any] = orjson.loads(build("word_piece")[2].tokenizer)
    assert definition["truncation"] is definition["padding"] is definition["post_processor"] is None
