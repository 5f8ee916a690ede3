"""POST /api/embed and /api/embeddings, field by field, over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import (
    FAKE,
    INLINE,
    REAL,
    Embed,
    MakeServer,
    RunningServer,
    fake_model,
    ollama_error,
)

TEXTS = ["The cat sat on the mat.", "Ein ganz anderer Satz.", "naïve café ☕ 日本語"]
NINE_WORDS = "one two three four five six seven eight nine"


def embed(server: RunningServer, **body: Any) -> httpx.Response:
    return server.http.post("/api/embed", json={"model": REAL, "input": "hello world", **body})


def vectors_of(response: httpx.Response) -> np.ndarray[Any, np.dtype[np.float32]]:
    assert response.status_code == 200, response.text[:500]
    return np.array(response.json()["embeddings"], dtype=np.float32)


class TestAnswer:
    def test_body_and_headers(self, server: RunningServer) -> None:
        response = embed(server, input=TEXTS)
        body = response.json()
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        assert int(response.headers["content-length"]) == len(response.content)
        assert set(body) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
        assert body["model"] == REAL
        assert all(type(body[key]) is int for key in ("total_duration", "load_duration", "prompt_eval_count"))
        assert body["total_duration"] >= body["load_duration"] >= 0
        assert body["total_duration"] > 0
        assert body["prompt_eval_count"] > len(TEXTS)

    def test_vectors_are_the_models_normalised(self, server: RunningServer, unit_vectors: Embed) -> None:
        vectors = vectors_of(embed(server, input=TEXTS))
        assert vectors.shape == (3, 256)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(vectors, unit_vectors(TEXTS), atol=1e-7)

    def test_a_text_gives_the_same_alone_or_in_a_list(self, server: RunningServer) -> None:
        together = vectors_of(embed(server, input=TEXTS))
        for text, expected in zip(TEXTS, together, strict=True):
            np.testing.assert_array_equal(vectors_of(embed(server, input=text)), [expected])

    def test_a_long_list_keeps_its_order(self, server: RunningServer, unit_vectors: Embed) -> None:
        texts = [f"text number {n} of many" for n in range(1000)]
        np.testing.assert_allclose(vectors_of(embed(server, input=texts)), unit_vectors(texts), atol=1e-7)

    def test_prompt_eval_count_sums_over_the_texts(self, server: RunningServer) -> None:
        counts = [embed(server, model=FAKE, input=text).json()["prompt_eval_count"] for text in ("a b", "c")]
        assert counts == [2, 1]
        assert embed(server, model=FAKE, input=["a b", "c"]).json()["prompt_eval_count"] == 3


class TestModel:
    @pytest.mark.parametrize(
        "name",
        [REAL, f"{REAL}:latest", "WordLlama-256D", "WORDLLAMA-256D:LATEST", "wordllama", "wordllama:latest"],
    )
    def test_every_spelling_works_and_is_echoed(self, server: RunningServer, name: str) -> None:
        response = embed(server, model=name)
        np.testing.assert_array_equal(vectors_of(response), vectors_of(embed(server)))
        assert response.json()["model"] == name

    @pytest.mark.parametrize(
        "body", [{"input": "x"}, {"model": None, "input": "x"}, {"model": "", "input": "x"}]
    )
    def test_without_a_name_the_default_embeds(self, server: RunningServer, body: dict[str, Any]) -> None:
        response = server.http.post("/api/embed", json=body)
        assert vectors_of(response).shape == (1, 256)
        assert response.json()["model"] == REAL

    @pytest.mark.parametrize(
        "name", ["nope", "nope:latest", "NoPe", f"{REAL}:7b", "../../etc/passwd", "a/b/c:d"]
    )
    def test_unknown(self, server: RunningServer, name: str) -> None:
        assert f"model '{name}' not found" in ollama_error(embed(server, model=name), 404)

    @pytest.mark.parametrize("name", ["a\x00b", "a\nb", "x" * 300])
    def test_impossible_name(self, server: RunningServer, name: str) -> None:
        assert "invalid model name" in ollama_error(embed(server, model=name), 400)

    @pytest.mark.parametrize(
        ("name", "status", "says"),
        [
            (
                "bge-m3-onnx",
                (501, 502, 503),
                ("bge-m3-onnx",),
            ),  # built, extra or weights missing: not here offline
            ("fake-unbuilt", (501,), ("fake-unbuilt", "'nonesuch' is not built")),
            ("fake-no-folder", (404,), ("fake-no-folder", "folder", "models file")),
            ("fake-broken", (500,), ("fake-broken", "not to load")),
            ("fake-huge", (503,), ("fake-huge", "TURBOV2_HOST_BUDGET")),
            ("mxbai-rerank-v2", (400,), ("mxbai-rerank-v2", "rerank")),
        ],
    )
    def test_that_cannot_embed_here(
        self, server: RunningServer, name: str, status: tuple[int, ...], says: tuple[str, ...]
    ) -> None:
        response = embed(server, model=name)
        assert response.status_code in status
        error = ollama_error(response, response.status_code)
        assert all(part in error for part in says), error
        server.assert_well()

    def test_larger_than_the_budget_is_not_worth_another_try(self, server: RunningServer) -> None:
        headers = embed(server, model="fake-huge").headers
        assert headers["x-should-retry"] == "false"
        assert "retry-after" not in headers

    def test_no_room_beside_what_is_pinned_says_when_to_come_back(
        self, make_server: MakeServer, tmp_path: Path
    ) -> None:
        models = [fake_model(name, tmp_path, need_bytes=100_000_000) for name in ("pinned", "second")]
        env = {"TURBOV2_HOST_BUDGET": "150MB", "TURBOV2_PRELOAD": "pinned"}
        crowded = make_server(models="\n".join(models), env=env)
        response = embed(crowded, model="second")
        error = ollama_error(response, 503)
        assert all(part in error for part in ("second", "115 MB", "150 MB", "TURBOV2_HOST_BUDGET")), error
        assert int(response.headers["retry-after"]) >= 1
        crowded.assert_well("pinned")


class TestInput:
    @pytest.mark.parametrize("body", [{}, {"input": None}, {"input": ""}, {"input": []}])
    def test_none_loads_and_gives_no_vectors(self, server: RunningServer, body: dict[str, Any]) -> None:
        response = server.http.post("/api/embed", json={"model": INLINE, **body})
        assert response.status_code == 200
        assert response.json()["embeddings"] == []
        assert response.json()["model"] == INLINE
        assert f"{INLINE}:latest" in [model["name"] for model in server.http.get("/api/ps").json()["models"]]

    def test_none_of_an_unknown_model_is_404(self, server: RunningServer) -> None:
        assert "not found" in ollama_error(embed(server, model="nope", input=[]), 404)

    def test_empty_text_in_a_list_is_embedded(self, server: RunningServer) -> None:
        vectors = vectors_of(embed(server, input=["hello world", "", "hello world"]))
        assert vectors.shape == (3, 256)
        assert np.isfinite(vectors).all()
        np.testing.assert_array_equal(vectors[0], vectors[2])
        assert vectors_of(embed(server, input=[""])).shape == (1, 256)

    @pytest.mark.parametrize(
        "value", [5, 1.5, True, {}, {"text": "x"}, [1, 2], [["a"]], [None], ["a", 5], [[1, 2], [3]], [{}]]
    )
    def test_of_the_wrong_type(self, server: RunningServer, value: object) -> None:
        assert "input" in ollama_error(embed(server, input=value), 400)

    @pytest.mark.parametrize(
        "text", ["a", " ", "\n\t", "\x00", "😀" * 50, "e\u0301", "ß" * 5000, "</s> [UNK]"]
    )
    def test_odd_texts_have_finite_vectors(self, server: RunningServer, text: str) -> None:
        vectors = vectors_of(embed(server, input=[text]))
        assert vectors.shape == (1, 256)
        assert np.isfinite(vectors).all()


class TestTruncate:
    def test_false_refuses_a_text_too_long(self, server: RunningServer) -> None:
        error = ollama_error(embed(server, model=FAKE, input=NINE_WORDS, truncate=False), 400)
        assert "the input length exceeds the context length" in error

    def test_false_refuses_a_list_with_one_text_too_long(self, server: RunningServer) -> None:
        error = ollama_error(embed(server, model=FAKE, input=["fits", NINE_WORDS], truncate=False), 400)
        assert "the input length exceeds the context length" in error

    def test_false_takes_what_fits_exactly(self, server: RunningServer) -> None:
        response = embed(server, model=FAKE, input=NINE_WORDS.removesuffix(" nine"), truncate=False)
        assert vectors_of(response).shape == (1, 8)

    @pytest.mark.parametrize("truncate", [{}, {"truncate": True}, {"truncate": None}])
    def test_else_the_end_is_cut_and_it_is_said(
        self, server: RunningServer, truncate: dict[str, Any]
    ) -> None:
        response = embed(server, model=FAKE, input=["fits", NINE_WORDS], **truncate)
        eight = vectors_of(embed(server, model=FAKE, input=NINE_WORDS.removesuffix(" nine")))
        np.testing.assert_array_equal(vectors_of(response)[1:], eight)
        assert response.json()["prompt_eval_count"] == 9
        assert response.json()["truncated"] == [1]

    def test_false_is_no_limit_for_a_model_without_one(self, server: RunningServer) -> None:
        assert vectors_of(embed(server, input="word " * 20_000, truncate=False)).shape == (1, 256)

    @pytest.mark.parametrize("value", ["yes", 1, [], {}])
    def test_of_the_wrong_type(self, server: RunningServer, value: object) -> None:
        assert "truncate" in ollama_error(embed(server, truncate=value), 400)


class TestDimensions:
    @pytest.mark.parametrize("wanted", [1, 64, 128, 255, 256])
    def test_cuts_then_normalises(self, server: RunningServer, raw_vectors: Embed, wanted: int) -> None:
        vectors = vectors_of(embed(server, input=TEXTS, dimensions=wanted))
        cut = raw_vectors(TEXTS)[:, :wanted].astype(np.float64)
        np.testing.assert_allclose(vectors, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)

    @pytest.mark.parametrize("wanted", [None, 0, 256, 257, 100_000])
    def test_that_change_nothing(self, server: RunningServer, wanted: int | None) -> None:
        full = vectors_of(embed(server, input=TEXTS))
        np.testing.assert_array_equal(vectors_of(embed(server, input=TEXTS, dimensions=wanted)), full)

    @pytest.mark.parametrize("wanted", [-1, -256, 1.5, "64", [], True])
    def test_refused(self, server: RunningServer, wanted: object) -> None:
        assert "dimensions" in ollama_error(embed(server, dimensions=wanted), 400)


class TestOtherFields:
    @pytest.mark.parametrize(
        "fields",
        [
            {"options": None},
            {"options": {}},
            {"options": {"num_ctx": None, "temperature": None, "seed": None}},  # langchain-ollama
            {"options": {"num_ctx": 4096, "top_k": 40.0, "mirostat": 2, "no_such_option": [1]}},
            {"truncate": None, "dimensions": None, "keep_alive": None, "options": None},
            {"no_such_field": {"deep": [1, 2]}, "user": "someone"},
            {"input_type": "query"},
            {"input_type": None},
        ],
    )
    def test_that_change_nothing(self, server: RunningServer, fields: dict[str, Any]) -> None:
        np.testing.assert_array_equal(vectors_of(embed(server, **fields)), vectors_of(embed(server)))

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"model": 5}, "model"),
            ({"model": ["x"]}, "model"),
            ({"options": "x"}, "options"),
            ({"options": []}, "options"),
            ({"options": {"num_ctx": "many"}}, "num_ctx"),
            ({"input_type": "poem"}, "input_type"),
            ({"input_type": 5}, "input_type"),
        ],
    )
    def test_of_the_wrong_type(self, server: RunningServer, fields: dict[str, Any], named: str) -> None:
        assert named in ollama_error(embed(server, **fields), 400)

    def test_a_vector_that_is_not_finite_is_an_error(self, server: RunningServer) -> None:
        error = ollama_error(embed(server, model=FAKE, input=["fine", "nan-now"]), 400)
        assert error.startswith("input 1: the model gave NaN or infinity")
        assert "1" in error
        server.assert_well(FAKE)

    def test_a_model_that_fails_says_so_once(self, server: RunningServer) -> None:
        assert "fail" in ollama_error(embed(server, model=FAKE, input="fail-now"), 500)
        server.assert_well(FAKE)


class TestBody:
    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/json; charset=utf-8",
            "nonsense",
        ],
    )
    def test_is_json_whatever_its_type_says(self, server: RunningServer, content_type: str | None) -> None:
        headers = {"content-type": content_type} if content_type else {}
        content = b'{"model":"%b","input":"x"}' % REAL.encode()
        assert vectors_of(server.http.post("/api/embed", content=content, headers=headers)).shape == (1, 256)

    @pytest.mark.parametrize("content", [b"", b"   \n"])
    def test_missing(self, server: RunningServer, content: bytes) -> None:
        error = ollama_error(server.http.post("/api/embed", content=content), 400)
        assert "missing request body" in error

    @pytest.mark.parametrize(
        "content",
        [
            b"{",
            b'{"model":',
            b"nonsense",
            b"{'model':'x'}",
            b'{"model":"x"} trailing',
            b"\x00",
            b'{"a":NaN}',
            b"\xef\xbb\xbf{}",
        ],
    )
    def test_not_json(self, server: RunningServer, content: bytes) -> None:
        assert "not valid JSON" in ollama_error(server.http.post("/api/embed", content=content), 400)

    @pytest.mark.parametrize("content", [b"[]", b'"x"', b"5", b"null", b"true"])
    def test_not_an_object(self, server: RunningServer, content: bytes) -> None:
        assert "object" in ollama_error(server.http.post("/api/embed", content=content), 400)

    def test_in_chunks(self, server: RunningServer) -> None:
        pieces = iter([b'{"model":"wordllama', b'-256d","in', b'put":["a","b"]}'])
        assert vectors_of(server.http.post("/api/embed", content=pieces)).shape == (2, 256)


class TestOlderForm:
    """POST /api/embeddings."""

    def ask(self, server: RunningServer, **body: Any) -> httpx.Response:
        return server.http.post("/api/embeddings", json={"model": REAL, "prompt": TEXTS[0], **body})

    def test_one_vector_not_normalised(self, server: RunningServer, raw_vectors: Embed) -> None:
        body = self.ask(server, keep_alive="5m", options={"num_ctx": None}).json()
        assert set(body) == {"embedding"}
        np.testing.assert_array_equal(np.array(body["embedding"], np.float32), raw_vectors(TEXTS[:1])[0])

    @pytest.mark.parametrize("prompt", [{"prompt": ""}, {"prompt": None}])
    def test_empty_prompt_gives_an_empty_vector(self, server: RunningServer, prompt: dict[str, Any]) -> None:
        response = self.ask(server, **prompt)
        assert (response.status_code, response.json()) == (200, {"embedding": []})

    def test_a_text_too_long_is_cut(self, server: RunningServer) -> None:
        assert len(self.ask(server, model=FAKE, prompt=NINE_WORDS).json()["embedding"]) == 8

    @pytest.mark.parametrize(
        ("fields", "status", "says"),
        [
            ({"model": None}, 400, "model is required"),
            ({"model": ""}, 400, "model is required"),
            ({"model": "nope"}, 404, "model 'nope' not found"),
            ({"prompt": 5}, 400, "prompt"),
            ({"prompt": ["a"]}, 400, "prompt"),
            ({"keep_alive": "5"}, 400, "keep_alive"),
        ],
    )
    def test_refused(self, server: RunningServer, fields: dict[str, Any], status: int, says: str) -> None:
        assert says in ollama_error(self.ask(server, **fields), status)


def test_a_load_is_part_of_the_answers_time(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(models=fake_model("fake-late", tmp_path, load_delay_s=0.2))
    first, second = (embed(server, model="fake-late").json() for _ in range(2))
    assert first["total_duration"] >= first["load_duration"] >= 200_000_000
    assert second["load_duration"] < 50_000_000
