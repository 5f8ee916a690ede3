"""What goes wrong, as the official Python clients tell it: classes, codes, request ids, waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pytest

from tests.support.chats import keeping_busy
from tests.support.server import RunningServer, fake_model

KEY, MODEL, SLOW = "a-key", "words", "slow"
MESSAGES: Any = [{"role": "user", "content": "a"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("errors")
    tables = [
        fake_model(MODEL, folder, runner="thread", capability="generate", is_writer=True, max_tokens=20),
        fake_model(
            SLOW, folder, runner="process", capability="generate", is_writer=True, delay_s_per_token=0.05
        ),
    ]
    models = "\n".join(table.replace("dimensions = 8\n", "") for table in tables)
    with RunningServer(
        folder, models=models, env={"EMBEDDINGS_API_KEY": KEY, "TURBOV2_MAX_QUEUE": "1"}
    ) as running:
        running.http.headers["x-api-key"] = KEY
        yield running


class TestOpenAI:
    def ask(self, server: RunningServer, key: str = KEY, model: str = MODEL, **fields: Any) -> str:
        with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0) as client:
            asked: Any = {"model": model, "messages": MESSAGES, **fields}
            return str(client.chat.completions.create(**asked).choices[0].message.content)

    @pytest.mark.parametrize(
        ("fields", "kind", "code", "param"),
        [
            ({"model": "nope"}, openai.NotFoundError, "model_not_found", "model"),
            ({"temperature": 3}, openai.BadRequestError, "invalid_request", "temperature"),
            ({"n": 2}, openai.BadRequestError, "invalid_request", "n"),
            ({"logprobs": True}, openai.BadRequestError, "invalid_request", "logprobs"),
            ({"key": "wrong"}, openai.AuthenticationError, "invalid_api_key", None),
            (
                {"messages": [{"role": "user", "content": "w " * 30}]},
                openai.BadRequestError,
                "context_length_exceeded",
                "prompt",
            ),
        ],
    )
    def test_classes(self, server: RunningServer, fields: Any, kind: Any, code: str, param: Any) -> None:
        with pytest.raises(kind) as caught:
            self.ask(server, **fields)
        assert (caught.value.code, caught.value.param) == (code, param)
        assert caught.value.request_id

    def test_nothing_is_kept_between_responses(self, server: RunningServer) -> None:
        with (
            openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=KEY, max_retries=0) as client,
            pytest.raises(openai.BadRequestError, match="send the whole conversation") as caught,
        ):
            client.responses.create(model=MODEL, input="a", previous_response_id="resp_1")
        assert caught.value.param == "previous_response_id"

    def test_a_full_queue(self, server: RunningServer) -> None:
        with keeping_busy(server, SLOW), pytest.raises(openai.RateLimitError) as caught:
            self.ask(server, model=SLOW)
        assert int(caught.value.response.headers["retry-after"]) > 0
        assert caught.value.code == "queue_full"


class TestOllama:
    def ask(self, server: RunningServer, key: str = KEY, model: str = MODEL, **fields: Any) -> str:
        client = ollama.Client(host=server.base_url, headers={"Authorization": f"Bearer {key}"})
        try:
            return str(client.chat(model, MESSAGES, **fields).message.content)
        finally:
            client._client.close()  # it has no close of its own

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"model": "nope"}, 404),
            ({"options": {"temperature": 3}}, 400),
            ({"logprobs": True}, 400),
            ({"key": "wrong"}, 401),
        ],
    )
    def test_statuses(self, server: RunningServer, fields: Any, status: int) -> None:
        with pytest.raises(ollama.ResponseError) as caught:
            self.ask(server, **fields)
        assert caught.value.status_code == status
        assert caught.value.error

    def test_a_full_queue(self, server: RunningServer) -> None:
        with keeping_busy(server, SLOW), pytest.raises(ollama.ResponseError) as caught:
            self.ask(server, model=SLOW)
        assert caught.value.status_code == 503


class TestAnthropic:
    @pytest.fixture
    def anthropic(self) -> Any:
        return pytest.importorskip("anthropic", reason="runs the official client: needs anthropic")

    def ask(
        self, anthropic: Any, server: RunningServer, key: str = KEY, n_retries: int = 0, **fields: Any
    ) -> str:
        asked = {"model": MODEL, "max_tokens": 9, "messages": MESSAGES, **fields}
        with anthropic.Anthropic(base_url=server.base_url, api_key=key, max_retries=n_retries) as client:
            return str(client.messages.create(**asked).content[0].text)

    @pytest.mark.parametrize(
        ("fields", "kind", "type"),
        [
            ({"model": "nope"}, "NotFoundError", "not_found_error"),
            ({"max_tokens": 0}, "BadRequestError", "invalid_request_error"),
            ({"key": "wrong"}, "AuthenticationError", "authentication_error"),
            (
                {"messages": [{"role": "user", "content": "w " * 30}]},
                "BadRequestError",
                "invalid_request_error",
            ),
        ],
    )
    def test_classes(self, anthropic: Any, server: RunningServer, fields: Any, kind: str, type: str) -> None:
        with pytest.raises(getattr(anthropic, kind)) as caught:
            self.ask(anthropic, server, **fields)
        assert caught.value.body["error"]["type"] == type
        assert caught.value.body["request_id"] == caught.value.response.headers["request-id"]

    def test_a_full_queue(self, anthropic: Any, server: RunningServer) -> None:
        with keeping_busy(server, SLOW), pytest.raises(anthropic.RateLimitError) as caught:
            self.ask(anthropic, server, model=SLOW)
        assert int(caught.value.response.headers["retry-after"]) > 0
        assert caught.value.body["error"]["type"] == "rate_limit_error"

    def test_tokens_are_counted_beside_a_full_queue(self, anthropic: Any, server: RunningServer) -> None:
        with (
            keeping_busy(server, SLOW),
            anthropic.Anthropic(base_url=server.base_url, api_key=KEY, max_retries=0, timeout=5) as client,
        ):
            assert client.messages.count_tokens(model=SLOW, messages=MESSAGES).input_tokens == 1

    def test_a_full_queue_is_waited_for(self, anthropic: Any, server: RunningServer) -> None:
        """By the client itself, as its people know it: it tries again when the answer says."""
        with keeping_busy(server, SLOW, n_words=40):  # 2 s
            assert self.ask(anthropic, server, model=SLOW, n_retries=5) == "a"
        assert "'/v1/messages' 429" in server.log()
