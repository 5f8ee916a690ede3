"""Conversations through the official JavaScript clients and LangChain, unchanged; the scripts are in js/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats, node
from tests.support.chats import AGENT
from tests.support.server import RunningServer

pytestmark = [node.needs_node, node.slow_at_first]

KEY = "a-key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    node.install()
    with chats.chat_server(tmp_path_factory.mktemp("clients"), EMBEDDINGS_API_KEY=KEY) as running:
        yield running


@pytest.mark.parametrize(
    "script", ["anthropic.mjs", "openai-chat.mjs", "ollama-chat.mjs", "langchain-chat.mjs"]
)
def test_conversations(server: RunningServer, script: str) -> None:
    assert node.run_script(script, server.base_url, KEY, AGENT)
