"""Distilling tiny teachers: Model2Vec's table, files that three libraries read alike, and clean ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

from tests.support.server import until
from tests.support.teachers import CORPUS, KINDS, make_teacher
from turbov2.cli import app
from turbov2.recipes.compare import static_encoder

pytest.importorskip("transformers", reason="needs the extra 'sentence'")
torch = pytest.importorskip("torch", reason="needs the extra 'sentence'")

TEXTS = [*CORPUS, "a quick token", "foxes", "the lazy dog " * 300]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: make_teacher(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def run(teacher: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["distill", str(teacher), "--out", str(out), "-d", "16", *options])


def table_of(folder: Path) -> NDArray[np.float32]:
    return load_file(folder / "model.safetensors")["embeddings"]


def by_the_formulas(teacher: Path, pooling: str, sif: float) -> NDArray[np.float64]:
    """Returns the BERT teacher's table, token by token, in float64."""
    from transformers import AutoModel

    vocabulary = orjson.loads((teacher / "tokenizer.json").read_bytes())["model"]["vocab"]
    dropped = {"[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"}
    kept = [token for token in sorted(vocabulary, key=vocabulary.get) if token not in dropped]
    model = AutoModel.from_pretrained(teacher).double().eval()
    rows = []
    for token in kept:
        ids = torch.tensor([[vocabulary["[CLS]"], vocabulary[token], vocabulary["[SEP]"]]])
        with torch.inference_mode():
            hidden = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
        rows.append({"mean": hidden.mean(axis=0), "first": hidden[0], "last": hidden[-1]}[pooling])
    vectors = np.stack(rows)
    centred = vectors - vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    scores = u[:, :16] * s[:16]
    scores *= np.sign(scores[np.abs(scores).argmax(axis=0), range(16)])
    shares = 1 / np.arange(2, len(scores) + 2)
    shares /= shares.sum()
    return scores * (sif / (sif + shares))[:, None] if sif else scores


@pytest.mark.parametrize(("pooling", "sif"), [("mean", 1e-4), ("first", 1e-3), ("last", 0)])
def test_the_table_is_that_of_the_formulas(
    teachers: dict[str, Path], tmp_path: Path, pooling: str, sif: float
) -> None:
    out = tmp_path / "out"
    result = run(teachers["bert"], out, "--dtype", "float32", "--pooling", pooling, "--sif", str(sif))
    assert result.exit_code == 0, result.stderr
    wanted = by_the_formulas(teachers["bert"], pooling, sif)
    np.testing.assert_allclose(table_of(out), wanted, atol=3e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.filterwarnings("ignore")  # the reference library's own
def test_the_table_is_that_of_model2vec(
    teachers: dict[str, Path], tmp_path: Path, kind: str, pooling: str
) -> None:
    pytest.importorskip("skeletoken", reason="needs model2vec's extra 'distill'")
    from model2vec.distill import distill

    out = tmp_path / "out"
    assert run(teachers[kind], out, "--dtype", "float32", "--pooling", pooling).exit_code == 0
    wanted = distill(str(teachers[kind]), pca_dims=16, quantize_to="float32", pooling=pooling, device="cpu")
    table = table_of(out)
    assert table.shape == wanted.embedding.shape
    np.testing.assert_allclose(table @ table.T, wanted.embedding @ wanted.embedding.T, atol=1e-4)
    if (
        kind != "roberta"
    ):  # there its tokenizer's unknown token still has the old number, another token's by now
        ours = static_encoder(out)(TEXTS)
        np.testing.assert_allclose(ours @ ours.T, _cosines(wanted.encode(TEXTS, max_length=None)), atol=1e-4)


def _cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # the reference libraries' own
def test_three_libraries_read_the_folder_alike(
    teachers: dict[str, Path], tmp_path: Path, kind: str, dtype: str
) -> None:
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "out"
    assert run(teachers[kind], out, "--dtype", dtype).exit_code == 0
    ours = static_encoder(out)(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    theirs = StaticModel.from_pretrained(out).encode(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-3 if dtype == "float16" else 1e-5)
    if dtype == "float16":  # Sentence Transformers cannot pool integers
        sentence = SentenceTransformer(str(out), device="cpu").encode(TEXTS)
        np.testing.assert_allclose(ours, sentence, atol=2e-3)


def test_comparison_card_and_plot(teachers: dict[str, Path], tmp_path: Path) -> None:
    out, data = tmp_path / "small", tmp_path / "set.jsonl"
    lines: list[dict[str, object]] = [{"id": f"d{n}", "text": text} for n, text in enumerate(TEXTS)]
    lines += [{"query": text, "positives": [f"d{n}"]} for n, text in enumerate(TEXTS)]
    data.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    result = run(teachers["bert"], out, "--data", str(data))
    assert result.exit_code == 0, result.stderr
    assert "nDCG@10" in result.stdout
    card, report = (out / "README.md").read_text(), (out / "report.md").read_text()
    assert "library_name: model2vec" in card
    assert f"Measured on {len(TEXTS)} queries over {len(TEXTS)} documents" in card
    assert "Spearman" in report
    assert str(tmp_path) not in card + report + (out / "config.json").read_text()
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_words_and_the_transformer_named_by_modules_json(teachers: dict[str, Path], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("kubectl\n\n quick brown \nthe\n")
    nested = tmp_path / "nested"
    nested.mkdir()
    (nested / "0_Transformer").symlink_to(teachers["bert"])
    kind = "sentence_transformers.models.Transformer"
    (nested / "modules.json").write_bytes(orjson.dumps([{"path": "0_Transformer", "type": kind}]))
    assert run(nested, tmp_path / "out", "--vocabulary", str(words)).exit_code == 0
    assert run(teachers["bert"], tmp_path / "plain").exit_code == 0
    assert len(table_of(tmp_path / "out")) == len(table_of(tmp_path / "plain")) + 2


def test_refusals_leave_nothing(teachers: dict[str, Path], tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    empty.mkdir()
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "a"}\n')
    new = tmp_path / "new"
    bert = teachers["bert"]
    for result, complaint in (
        (run(bert, full), "new or empty"),
        (run(bert, new, "-d", "33"), "more than the teacher has: 32"),
        (run(bert, new, "--sif", "1"), "SIF coefficient"),
        (run(bert, new, "--data", str(broken)), "line 1"),
        (run(bert, new, "--vocabulary", str(tmp_path / "none")), "No such file"),
        (run(empty, new), "tokenizer.json"),
        (run(tmp_path / "nowhere", new), "no folder is called"),
        (run(Path("wordllama-256d"), new), "cannot teach"),
    ):
        assert result.exit_code in (1, 2), complaint
        assert complaint in result.stderr
        assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jsonl", "empty", "full"]
    assert (full / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(teachers: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run(teachers["bert"], tmp_path / "out").exit_code == 0
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_told_before_the_long_part(
    teachers: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from turbov2.recipes import folder

    monkeypatch.setattr(folder, "_SPARE_BYTES", 10**18)
    result = run(teachers["bert"], tmp_path / "out")
    assert result.exit_code == 1
    assert "MB are free" in result.stderr
    assert not list(tmp_path.iterdir())


def test_weights_that_are_pickles_are_not_read(teachers: dict[str, Path], tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((teachers["bert"] / name).read_bytes())
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    result = run(tmp_path, tmp_path / "out")
    assert result.exit_code == 1
    assert "no transformer in safetensors" in result.stderr


def test_ctrl_c_leaves_nothing(teachers: dict[str, Path], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"  # long enough to be interrupted within
    words.write_text("\n".join(f"word{n} lazy dog" for n in range(60_000)))
    command = [
        sys.executable,
        "-m",
        "turbov2",
        "distill",
        str(teachers["bert"]),
        "--out",
        str(tmp_path / "out"),
    ]
    command += ["-d", "16", "--vocabulary", str(words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        assert process.stderr is not None
        assert b"reading tokens" in process.stderr.readline()
        assert len(list(tmp_path.glob(".out.*"))) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.communicate()
    until(lambda: not list(tmp_path.glob(".out.*")))
    assert not (tmp_path / "out").exists()
