"""StaticBackend gives the numbers that model2vec gives, and bad files never get as far as a wrong number."""

from __future__ import annotations

import json
import random
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from model2vec import StaticModel
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.sparse import csr_array
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from turbov2.backends.static import StaticBackend, words
from turbov2.backends.static.table import Table, map_tensors
from turbov2.catalog import Catalog
from turbov2.catalog.weights import WeightsStore
from turbov2.engine.shelf import Shelf
from turbov2.engine.vectors import finish
from turbov2.errors import InvalidRequest, LoadFailed
from turbov2.types import LoadSpec, TokenBatch

Floats = NDArray[np.float32]
N_TEXTS = 2_000

_SENTENCE = (
    "the quick brown fox jumps over a lazy dog retrieval embeddings server latency throughput "
    "Zürich naïve café Straße smörgåsbord don't e-mail 3.14159 $1,000.00 https://example.org/a?b=c#d "
    "antidisestablishmentarianism x=y; {json: true} <div class='a'> #hashtag @user 100% C++ foo_bar"
)
_WORDS = _SENTENCE.split()
_ODD = [
    "", " ", "  ", "   leading", "trailing   ", "a  b", "a   b    c", "\n", "\t\ttabs\there",
    "line\nbreak\r\nhere", "🙂", "👩\u200d👩\u200d👧\u200d👦 family", "🇨🇭🇫🇷", "日本語のテキスト",
    "中文 测试 文本",
    "한국어 텍스트", "नमस्ते दुनिया", "مرحبا بالعالم", "עברית", "ไทย", "\x00", "a\x00b", "\x00 \x00",
    "\ufeffbom",
    "\u200bzero\u200bwidth", "e\u0301 combining", "\u2581", "▁the", "a▁b", "the ▁ dog", "<s>", "</s>",
    "<unk>", "<s> hello </s>", "a<s>b", "x <unk> y", "<s><s>", "< s >", "\U0010ffff", "\ue000", "ﬁ ligature",
    "\u00a0nbsp\u00a0", "\u3000wide\u3000", "a" * 300, "ab" * 2_000, "é" * 500, "🙂" * 200, "<s>" * 50,
    " " * 100, "a " * 400,
]  # fmt: skip


def make_texts(n: int, seed: int) -> list[str]:
    """Returns the odd ones, then mixtures of words, of odd ones and of any characters at all."""
    source = random.Random(seed)

    def word() -> str:
        kind = source.random()
        if kind < 0.6:
            return source.choice(_WORDS)
        if kind < 0.8:
            return "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randint(1, 12)))
        if kind < 0.9:
            return source.choice(_ODD[:43])
        return "".join(
            chr(
                source.choice(
                    [
                        source.randint(1, 0x2FF),
                        source.randint(0x3000, 0xD7FF),
                        source.randint(0x1F300, 0x1FAFF),
                    ]
                )
            )
            for _ in range(source.randint(1, 6))
        )

    texts = [*_ODD, " ".join(source.choices(_WORDS, k=9_000))[:50_000]]
    texts += [
        source.choice([" ", " ", " ", "  ", "\n"]).join(word() for _ in range(source.randint(0, 40)))
        for _ in range(n - len(texts))
    ]
    source.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    made = make_texts(N_TEXTS, seed=7)
    assert len(made) == N_TEXTS
    return made


# --- wordllama's weights


@pytest.fixture(scope="module")
def wordllama(tmp_path_factory: pytest.TempPathFactory) -> LoadSpec:
    catalog = Catalog.load(None, {})
    shelf = Shelf(catalog, WeightsStore(tmp_path_factory.mktemp("home")), auto_pull=False)
    return shelf.load_spec(catalog.resolve("wordllama-256d"))


@pytest.fixture(scope="module")
def reference(wordllama: LoadSpec, texts: list[str]) -> Floats:
    """What model2vec computes from the float32 table."""
    table = map_tensors(Path(wordllama.files["model.safetensors"]))["embedding.weight"].astype(np.float32)
    tokenizer = Tokenizer.from_file(wordllama.files["tokenizer.json"])
    model = StaticModel(table, tokenizer, normalize=True, max_length=None)
    return model.encode(texts, max_length=None, use_multiprocessing=False).astype(np.float32)


def run(backend: StaticBackend, inputs: Any) -> tuple[TokenBatch, Floats]:
    tokens = backend.tokenize(inputs)
    return tokens, backend.embed(tokens).dense


def unit(backend: StaticBackend, texts: list[str]) -> Floats:
    return finish(run(backend, texts)[1], None, True, "m")


def assert_parity(got: Floats, wanted: Floats) -> None:
    assert got.shape == wanted.shape
    assert got.dtype == np.float32
    worst = int(np.abs(got - wanted).max(axis=1).argmax())
    assert np.abs(got - wanted).max() <= 1e-6, f"text {worst}"


def test_parity_cold_and_warm(wordllama: LoadSpec, texts: list[str], reference: Floats) -> None:
    backend = StaticBackend(wordllama)
    cold = unit(backend, texts)
    assert_parity(cold, reference)
    assert len(backend._words._known) > 500, "the word cache is in use"
    assert unit(backend, texts).tobytes() == cold.tobytes()


def test_a_batch_gives_the_bits_of_single_texts(
    wordllama: LoadSpec, texts: list[str], reference: Floats
) -> None:
    singly = StaticBackend(wordllama)
    cold = [run(singly, [text]) for text in texts]
    singly.free_caches()
    forgotten = [run(singly, [text]) for text in texts]
    warm = [run(singly, [text]) for text in texts]
    _, backwards = run(StaticBackend(wordllama), texts[::-1])
    tokens, together = run(StaticBackend(wordllama), texts)
    for one in (cold, forgotten, warm):
        assert b"".join(vectors.tobytes() for _, vectors in one) == together.tobytes()
        assert [int(each.lengths[0]) for each, _ in one] == tokens.lengths.tolist()
    assert backwards[::-1].tobytes() == together.tobytes()
    assert_parity(finish(together, None, True, "m"), reference)


def test_tokens_of_several_requests_may_share_a_forward(wordllama: LoadSpec, texts: list[str]) -> None:
    backend = StaticBackend(wordllama)
    (a, first), (b, second) = run(backend, texts[:50]), run(backend, texts[50:90])
    mixed = TokenBatch(
        *(np.concatenate([getattr(b, f), getattr(a, f)]) for f in ("ids", "lengths", "full_lengths"))
    )
    assert backend.embed(mixed).dense.tobytes() == second.tobytes() + first.tobytes()


@pytest.mark.parametrize("max_words", [0, 1, 50, 65_536])
def test_threads_and_a_small_cache(
    wordllama: LoadSpec, texts: list[str], reference: Floats, monkeypatch: pytest.MonkeyPatch, max_words: int
) -> None:
    monkeypatch.setattr(words, "MAX_WORDS", max_words)
    backend = StaticBackend(wordllama)
    some, n_threads = texts[:600], 4
    parts = [list(range(start, len(some), n_threads)) for start in range(n_threads)]
    sizes: list[int] = []

    def work(part: list[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for i in part:
            vectors = unit(backend, [some[i], some[0]])
            found[i] = vectors[0].tobytes()
            sizes.append(len(backend._words._known))
        return found

    with ThreadPoolExecutor(n_threads) as threads:
        merged = {i: row for found in threads.map(work, parts * 2) for i, row in found.items()}
    got = np.frombuffer(b"".join(merged[i] for i in range(len(some))), np.float32).reshape(len(some), -1)
    assert_parity(got, reference[: len(some)])
    # Threads that look at the same moment may each add their own text's words.
    assert max(sizes) <= max_words * n_threads


def test_the_cache_keeps_its_bound(
    wordllama: LoadSpec, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MAX_WORDS", 50)
    backend = StaticBackend(wordllama)
    for text in texts[:400]:
        backend.tokenize([text])
        assert len(backend._words._known) <= 50
    assert all(0 < len(word) <= words.MAX_WORD_CHARS for word in backend._words._known)


def test_rows_are_added_as_scipy_adds_them(wordllama: LoadSpec) -> None:
    source = np.random.default_rng(3)
    stored = map_tensors(Path(wordllama.files["model.safetensors"]))["embedding.weight"]
    lengths = source.integers(0, 60, 300)
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    ids = source.integers(0, len(stored), offsets[-1]).astype(np.int32)
    weights = source.random(len(ids)).astype(np.float32)
    matrix = csr_array((weights, ids, offsets), shape=(len(lengths), len(stored)))
    for table in (stored, stored.astype(np.float32)):
        got = Table(table).sum_rows(ids, offsets, weights)
        assert got.tobytes() == (matrix @ stored.astype(np.float32)).tobytes()


# --- small models of each kind


def _corpus() -> list[str]:
    return make_texts(400, seed=1) + ["the quick brown fox"] * 20


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=250, special_tokens=["[UNK]", "[CLS]"], show_progress=False, limit_alphabet=60
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([text for text in _corpus() if text.isascii()], trainer)
    # The trainer lists a special token that the corpus holds twice; model2vec counts it once.
    pieces = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    tokenizer.model = models.Unigram(list(pieces.items()), unk_id=0)
    return tokenizer


def byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def words_only() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *dict.fromkeys(_WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def llama_like() -> Tokenizer:
    """As wordllama's, so that the word cache is used, with a vocabulary that merges little."""
    letters = [
        words.SPACE_MARK,
        *"abcdefghijklmnopqrstuvwxyz",
        words.SPACE_MARK * 2,
        words.SPACE_MARK + "t",
        words.SPACE_MARK + "th",
        "he",
        words.SPACE_MARK + "the",
    ]
    vocabulary = {
        token: i for i, token in enumerate(["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters])
    }
    mark = words.SPACE_MARK
    merges = [(mark, mark), (mark, "t"), (mark + "t", "h"), ("h", "e"), (mark + "t", "he")]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)])
    tokenizer.add_special_tokens(["<s>"])
    return tokenizer


TOKENIZERS = {
    "wordpiece": wordpiece,
    "unigram": unigram,
    "byte bpe": byte_bpe,
    "words": words_only,
    "llama": llama_like,
}
N_DIMENSIONS = 24


@pytest.fixture(scope="module")
def tokenizers_by_name() -> dict[str, Tokenizer]:
    return {name: make() for name, make in TOKENIZERS.items()}


def write_model(folder: Path, tokenizer: Tokenizer, **tensors: NDArray[Any]) -> LoadSpec:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    return spec_of(folder)


def spec_of(folder: Path, max_tokens: int | None = None) -> LoadSpec:
    files = {path.name: str(path) for path in folder.iterdir()}
    return LoadSpec("small", "static", files, "", max_tokens=max_tokens)


def random_table(n_rows: int, dtype: str) -> NDArray[Any]:
    source = np.random.default_rng(n_rows)
    if dtype == "int8":
        return source.integers(-127, 128, (n_rows, N_DIMENSIONS), dtype=np.int8)
    return source.standard_normal((n_rows, N_DIMENSIONS)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "float64"])
@pytest.mark.parametrize("quantised", [False, True], ids=["plain", "mapped"])
@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_small_models(
    tmp_path: Path,
    texts: list[str],
    tokenizers_by_name: dict[str, Tokenizer],
    name: str,
    quantised: bool,
    dtype: str,
) -> None:
    tokenizer = tokenizers_by_name[name]
    n_tokens = tokenizer.get_vocab_size()
    tensors: dict[str, NDArray[Any]] = {
        "embeddings": random_table(n_tokens // 3 if quantised else n_tokens, dtype)
    }
    if quantised:
        source = np.random.default_rng(5)
        tensors["mapping"] = source.integers(0, n_tokens // 3, n_tokens)
        tensors["weights"] = source.random(n_tokens).astype(np.float32)
    backend = StaticBackend(write_model(tmp_path / "model", tokenizer, **tensors))
    assert backend.loaded.dtype == dtype
    model = StaticModel(
        tensors["embeddings"].astype(np.float32),
        tokenizer,
        normalize=True,
        weights=tensors.get("weights"),
        token_mapping=tensors.get("mapping"),
        max_length=None,
    )
    some = texts[:300]
    wanted = model.encode(some, max_length=None, use_multiprocessing=False).astype(np.float32)
    got = unit(backend, some)
    assert_parity(got, wanted)
    assert b"".join(unit(backend, [text]).tobytes() for text in some) == got.tobytes()
    assert (np.abs(got).sum(axis=1) > 0).mean() > 0.5, "most texts have known tokens"


def test_only_the_llama_kind_is_taken_word_by_word(
    tmp_path: Path, tokenizers_by_name: dict[str, Tokenizer]
) -> None:
    taken = {name: words.is_separable(json.loads(made.to_str())) for name, made in tokenizers_by_name.items()}
    assert taken == dict.fromkeys(TOKENIZERS, False) | {"llama": True}


_llama_texts = st.text(
    st.sampled_from([*"  theax", words.SPACE_MARK, "<", "s", ">", "é", "\n", "\0", "🙂"]), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(_llama_texts, st.text(max_size=30)), max_size=6))
def test_word_by_word_is_the_same_as_whole(texts: list[str]) -> None:
    tokenizer = _LLAMA
    by_word = words.WordTokenizer(tokenizer, json.loads(tokenizer.to_str()), 0)
    texts = [text.encode("utf-8", "replace").decode() for text in texts]  # no lone surrogates
    whole = [[i for i in tokenizer.encode(text, add_special_tokens=False).ids if i != 0] for text in texts]
    for _ in range(2):
        assert [np.frombuffer(ids, np.int32).tolist() for ids in by_word.encode(texts)] == whole


_LLAMA = llama_like()


# --- token ids


@pytest.mark.parametrize("bad", [-1, "first", 2**31, 2**63, 2**80, -(2**70)])
def test_token_ids_outside_the_vocabulary(tmp_path: Path, bad: int | str) -> None:
    n_tokens = _LLAMA.get_vocab_size()
    backend = StaticBackend(write_model(tmp_path / "m", _LLAMA, embeddings=random_table(n_tokens, "float32")))
    assert backend.tokenize([[1, 2], [], [n_tokens - 1]]).lengths.tolist() == [2, 0, 1]
    token_id = n_tokens if isinstance(bad, str) else bad
    with pytest.raises(InvalidRequest, match=f"input 1 has token id {token_id}, .* ends at {n_tokens - 1}"):
        backend.tokenize([[1], [2, token_id]])


def test_long_inputs_are_cut_and_say_so(tmp_path: Path) -> None:
    table = random_table(_LLAMA.get_vocab_size(), "float32")
    whole = StaticBackend(write_model(tmp_path / "m", _LLAMA, embeddings=table))
    cut = StaticBackend(spec_of(tmp_path / "m", max_tokens=3))
    rows = [[5, 6, 7, 8, 9], [], [1, 2, 3], [4] * 4]
    tokens, vectors = run(cut, rows)
    assert tokens.lengths.tolist() == [3, 0, 3, 3]
    assert tokens.full_lengths.tolist() == [5, 0, 3, 4]
    assert tokens.ids.tolist() == [5, 6, 7, 1, 2, 3, 4, 4, 4]
    assert vectors.tobytes() == run(whole, [row[:3] for row in rows])[1].tobytes()
    text = cut.tokenize(["the theatre of the", "x"])
    assert text.lengths.tolist() == [3, int(text.full_lengths[1])]
    assert int(text.full_lengths[0]) == int(whole.tokenize(["the theatre of the"]).lengths[0]) > 3


# --- files that are not what they should be


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "model"
    n_tokens = _LLAMA.get_vocab_size()
    write_model(folder, _LLAMA, embeddings=random_table(n_tokens, "float16"))
    return folder


def load_with(folder: Path, weights: bytes) -> StaticBackend:
    (folder / "model.safetensors").write_bytes(weights)
    return StaticBackend(spec_of(folder))


def safetensors(header: Any, data: bytes = b"\0" * 64) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(**changed: Any) -> dict[str, Any]:
    return {"embeddings": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]} | changed}


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\0" * 7,
        b"\0" * 8,
        b"\xff" * 8,
        b"\xff" * 100,
        struct.pack("<Q", 100) + b"{}",
        safetensors({}),
        safetensors([]),
        safetensors(None),
        safetensors(b"{"),
        safetensors(b"[" * 100_000),
        safetensors(b'{"a":' * 50_000),
        safetensors(b"\xff\xfe"),
        safetensors({"embeddings": None}),
        safetensors({"embeddings": {}}),
        safetensors({"other": entry()["embeddings"]}),
        safetensors(entry(dtype="BF16")),
        safetensors(entry(dtype=["F32"])),
        safetensors(entry(dtype=None)),
        safetensors(entry(shape=[-4, -4])),
        safetensors(entry(shape=[2**32, 2**32])),  # 2**64 is 0 in 64 bits
        safetensors(entry(shape=[2**62, 4])),
        safetensors(entry(shape=[0, 2**63], data_offsets=[0, 0])),
        safetensors(entry(shape=[16])),
        safetensors(entry(shape=[])),
        safetensors(entry(shape=[1] * 70 + [16])),
        safetensors(entry(shape="4x4")),
        safetensors(entry(shape=[4.0, 4.0])),
        safetensors(entry(shape=4)),
        safetensors(entry(data_offsets=[0, 65])),
        safetensors(entry(data_offsets=[64, 0])),
        safetensors(entry(data_offsets=[-64, 0])),
        safetensors(entry(data_offsets=[1, 65])),
        safetensors(entry(data_offsets=[0])),
        safetensors(entry(data_offsets=[0, 32, 64])),
        safetensors(entry(data_offsets=None)),
        safetensors(entry(data_offsets=[2**70, 2**70 + 64])),
        safetensors(entry(), b""),
        safetensors(entry(), b"\0" * 63),
        safetensors(entry()),  # in order, but fewer rows than the tokenizer has tokens
    ],
)
def test_bad_weights(good_folder: Path, tmp_path: Path, weights: bytes) -> None:
    folder = shutil.copytree(good_folder, tmp_path / "copy")
    with pytest.raises(LoadFailed) as error:
        load_with(folder, weights)
    assert str(tmp_path) not in error.value.message


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_load_or_fail_cleanly(good_folder: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of the header, or of the whole file, are changed, cut out or put in."""
    folder = tmp_path / "any"
    if not folder.exists():
        shutil.copytree(good_folder, folder)
    good = (good_folder / "model.safetensors").read_bytes()
    header_end = 8 + struct.unpack("<Q", good[:8])[0]
    start = data.draw(st.integers(0, header_end))
    end = data.draw(st.integers(start, header_end))
    weights = good[:start] + data.draw(st.binary(max_size=12)) + good[end:]
    try:
        backend = load_with(folder, weights)
    except LoadFailed:
        return
    assert run(backend, ["the theatre", "", "x"])[1].shape[0] == 3


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_dtype = st.sampled_from(["F32", "F16", "I8", "I64", "F64", "I32"]) | _json
_entry = st.fixed_dictionaries(
    {
        "dtype": _dtype,
        "shape": st.lists(st.integers(-2, 2**64), max_size=4) | _json,
        "data_offsets": st.lists(st.integers(-1, 70), min_size=2, max_size=2) | _json,
    }
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(["embeddings", "weights", "mapping", "__metadata__"]), _entry | _json)
    | _json
)
@example(entry())
def test_any_header_gives_tensors_or_a_load_failure(tmp_path: Path, header: Any) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(header))
    try:
        tensors = map_tensors(path)
    except LoadFailed:
        return
    assert all(tensor.nbytes <= 64 for tensor in tensors.values())


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"mapping": np.full(300, -1, np.int64)}, "outside the table"),
        ({"mapping": np.full(300, 300, np.int64)}, "outside the table"),
        ({"mapping": np.full(300, 2**40, np.int64)}, "outside the table"),
        ({"mapping": np.zeros(5, np.int64)}, "not of one model"),
        ({"mapping": np.zeros((300, 1), np.int64)}, "list of integers"),
        ({"mapping": np.zeros(300, np.float32)}, "list of integers"),
        ({"weights": np.zeros(5, np.float32)}, "fewer token weights"),
        ({"weights": np.zeros((300, 1), np.float32)}, "list of numbers"),
    ],
)
def test_tensors_that_do_not_fit_each_other(
    tmp_path: Path, tensors: dict[str, NDArray[Any]], says: str
) -> None:
    assert _LLAMA.get_vocab_size() <= 300
    spec = write_model(tmp_path / "m", _LLAMA, embeddings=random_table(300, "float32"), **tensors)
    with pytest.raises(LoadFailed, match=says):
        StaticBackend(spec)


def test_ids_with_gaps_do_not_lead_past_the_table(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "far": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(LoadFailed, match="3 rows but the tokenizer 4"):
        StaticBackend(write_model(tmp_path / "short", tokenizer, embeddings=random_table(3, "float32")))
    backend = StaticBackend(write_model(tmp_path / "long", tokenizer, embeddings=random_table(4, "float32")))
    tokens, vectors = run(backend, ["far a what"])
    assert tokens.lengths.tolist() == [2]
    np.testing.assert_allclose(vectors[0], random_table(4, "float32")[[3, 1]].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("text", ["", "{}", "null", "[]", '{"model": {}}', '{"version": "1.0"}', "\xff"])
def test_bad_tokenizers(good_folder: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(good_folder, tmp_path / "copy")
    (folder / "tokenizer.json").write_text(text, "latin-1")
    with pytest.raises(LoadFailed):
        StaticBackend(spec_of(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(good_folder: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(good_folder, tmp_path / "copy")
    (folder / name).unlink()
    with pytest.raises(LoadFailed, match=name):
        StaticBackend(spec_of(folder))
