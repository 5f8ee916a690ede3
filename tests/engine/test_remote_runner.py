"""Models that another server runs, over real connections, to servers that behave and servers that do not."""

import asyncio
import contextlib
import gzip
import time

import pytest

from tests.support.upstream import DONE, HEAD, chunk, event, plain, upstream
from turbov2.errors import (
    InputTooLong,
    InvalidRequest,
    LoadFailed,
    NotSupported,
    RemoteBusy,
    RemoteFailed,
    RemoteTimedOut,
    RunnerCrashed,
)
from turbov2.runners.remote import RemoteRunner
from turbov2.types import GenerateTask, LoadSpec, PromptMessage, TextDelta, TextPart

pytestmark = pytest.mark.timeout(30)

TASK = GenerateTask((PromptMessage("user", (TextPart("Hi"),)),))
KEY = "sk-the-secret-key"
FOREVER_S = 60.0


@contextlib.asynccontextmanager
async def started(base_url, *, key=KEY, **options):
    runner = RemoteRunner(key, sees=False)
    spec = LoadSpec("ours", "remote_openai", {}, "", options={"base_url": base_url, "model": "m", **options})
    await runner.start(spec)
    try:
        yield runner
    finally:
        await runner.stop(0)


async def asked(says, **options):
    """Returns the pieces, how the answer ended or the error, and the requests that came."""
    pieces = []
    async with upstream(says) as server, started(server.base_url, **options) as runner:
        try:
            ended = await runner.generate(TASK, [], pieces.append)
        except Exception as error:
            ended = error
    return pieces, ended, server.requests


async def whole(n, write):
    await write(HEAD + chunk({"content": "Hello"}) + chunk({"content": " you"}) + chunk({}, "stop") + DONE)


async def test_an_answer_comes_in_pieces_and_ends():
    pieces, finish, requests = await asked(whole)
    assert pieces == [TextDelta("Hello"), TextDelta(" you")]
    assert finish.reason == "stop"
    assert finish.prompt_ns > 0
    (request,) = requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json["messages"] == [{"role": "user", "content": "Hi"}]


async def test_pieces_are_told_while_the_server_still_writes():
    is_read = asyncio.Event()

    async def says(n, write):
        await write(HEAD + chunk({"content": "a"}))
        await is_read.wait()  # the rest comes only once the first piece was told
        await write(chunk({"content": "b"}) + chunk({}, "stop") + DONE)

    told = []

    def on_piece(piece):
        told.append(piece.text)
        is_read.set()

    async with upstream(says) as server, started(server.base_url) as runner:
        await runner.generate(TASK, [], on_piece)
    assert told == ["a", "b"]


async def test_no_key_sends_no_header():
    _, _, requests = await asked(whole, key="")
    assert "authorization" not in requests[0].headers


async def test_a_connection_is_used_again():
    n_connections, closed = 0, asyncio.Event()
    said = chunk({"content": "a"}) + chunk({}, "stop") + DONE
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(said)}\r\n\r\n".encode()

    async def serve(reader, writer):
        nonlocal n_connections
        n_connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                n_bytes = int(request.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(n_bytes)
                writer.write(head + said)
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with started(f"http://127.0.0.1:{port}") as runner:
        for _ in range(3):
            await runner.generate(TASK, [], lambda piece: None)
    await closed.wait()
    server.close()
    assert n_connections == 1


@pytest.mark.parametrize("status", ["503 Busy", "429 Too Many", "502 Bad Gateway"])
async def test_a_busy_server_is_asked_again(status):
    async def says(n, write):
        await (whole(n, write) if n == 3 else write(plain(status, {}, "retry-after: 0")))

    pieces, _, requests = await asked(says)
    assert len(requests) == 3
    assert pieces == [TextDelta("Hello"), TextDelta(" you")]


async def test_a_server_that_hangs_up_at_once_is_asked_again(monkeypatch):
    monkeypatch.setattr("turbov2.runners.remote.client._FIRST_WAIT_S", 0.01)

    async def says(n, write):
        if n == 2:
            await whole(n, write)

    pieces, _, requests = await asked(says)
    assert len(requests) == 2
    assert len(pieces) == 2


async def test_who_is_busy_for_long_is_told_of_at_once():
    began_s = time.perf_counter()
    _, error, requests = await asked(lambda n, write: write(plain("503 Busy", {}, "retry-after: 120")))
    assert isinstance(error, RemoteBusy)
    assert error.retry_after_s == 120
    assert len(requests) == 1
    assert time.perf_counter() - began_s < 5


async def test_an_answer_that_began_is_not_asked_for_again():
    pieces, error, requests = await asked(lambda n, write: write(HEAD + chunk({"content": "half"})))
    assert isinstance(error, RemoteFailed)
    assert "broke off" in error.message
    assert pieces == [TextDelta("half")]
    assert len(requests) == 1


async def test_nobody_there():
    async with upstream(whole) as server:
        base_url = server.base_url
    async with started(base_url, retries=0) as runner:
        with pytest.raises(RemoteFailed, match="cannot be reached") as caught:
            await runner.generate(TASK, [], lambda piece: None)
    assert "127.0.0.1" not in str(caught.value)


async def test_redirects_are_not_followed():
    async with upstream(whole) as other:
        url = f"location: {other.base_url}/chat/completions"
        _, error, _ = await asked(lambda n, write: write(plain("307 Elsewhere", {}, url)))
        assert isinstance(error, RemoteFailed)
        assert "base_url" in error.message
        assert other.requests == []


async def silent(n, write):
    await asyncio.sleep(FOREVER_S)


async def silent_midway(n, write):
    await write(HEAD + chunk({"content": "a"}))
    await asyncio.sleep(FOREVER_S)


async def drips(n, write):
    await write(HEAD + b"data: ")
    while True:
        await write(b"x")
        await asyncio.sleep(0.02)


async def drips_head(n, write):
    await write(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        await write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("says", [silent, silent_midway, drips, drips_head])
async def test_a_server_without_a_whole_line_is_given_up(says):
    began_s = time.perf_counter()
    _, error, requests = await asked(says, silence_timeout_s=0.3)
    assert isinstance(error, RemoteTimedOut)
    assert "0.3 s (`silence_timeout_s`)" in error.message
    assert len(requests) == 1
    assert time.perf_counter() - began_s < 5


async def test_comments_show_life():
    async def says(n, write):
        await write(HEAD)
        for _ in range(12):
            await write(b": ping\n\n")
            await asyncio.sleep(0.05)
        await write(chunk({}, "stop") + DONE)

    _, finish, _ = await asked(says, silence_timeout_s=0.4)
    assert finish.reason == "stop"


async def test_an_answer_without_end_is_ended():
    async def says(n, write):
        await write(HEAD)
        while True:
            await write(chunk({"content": ""}))
            await asyncio.sleep(0.01)

    _, error, _ = await asked(says, timeout_s=0.3)
    assert isinstance(error, RemoteTimedOut)
    assert "`timeout_s`" in error.message


async def floods(n, write):
    await write(HEAD + b"data: ")
    while True:
        await write(b"x" * 65_536)


async def floods_events(n, write):
    await write(HEAD)
    while True:
        await write(chunk({"content": "x" * 1000}) * 100)


async def floods_head(n, write):
    while True:
        await write(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000)


GZIP = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "says",
    [
        floods,
        floods_events,
        floods_head,
        lambda n, write: write(b"\x00\xff garbage\r\n\r\n"),
        lambda n, write: write(b"HTTP/1.1 999999 ?\r\n\r\n"),
        lambda n, write: write(plain("200 OK", {"choices": []})),
        lambda n, write: write(HEAD + b"data: {\n\n"),
        lambda n, write: write(HEAD + b"data: \xff\xfe\n\n"),
        lambda n, write: write(HEAD + event(["no chunk"])),
        lambda n, write: write(HEAD + DONE),
        lambda n, write: write(HEAD + event({"error": {"message": KEY, "code": 500}})),
        lambda n, write: write(GZIP + gzip.compress(b"data: x\n\n" * 1_000_000)),
        lambda n, write: write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    ],
)
async def test_a_hostile_server_is_an_error_and_no_more(says):
    began_s = time.perf_counter()
    _, error, _ = await asked(says, retries=0, silence_timeout_s=5)
    assert isinstance(error, RemoteFailed)
    assert KEY not in str(error)
    assert time.perf_counter() - began_s < 4


async def test_others_have_their_turn_while_a_server_floods():
    longest_s = 0.0

    async def looks():
        nonlocal longest_s
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - before_s)

    looking = asyncio.ensure_future(looks())
    pieces, _, _ = await asked(lambda n, write: write(HEAD + chunk({"content": "x"}) * 5_000 + DONE))
    looking.cancel()
    assert len(pieces) == 5_000
    assert longest_s < 0.2


@pytest.mark.parametrize("begins", [True, False])
async def test_a_cancel_hangs_up_at_once(begins):
    is_asked = asyncio.Event()

    async def says(n, write):
        if begins:
            await write(HEAD + chunk({"content": "a"}))
        is_asked.set()
        await asyncio.sleep(FOREVER_S)

    async with upstream(says) as server, started(server.base_url) as runner:
        asking = asyncio.ensure_future(runner.generate(TASK, [], lambda piece: None))
        await is_asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(server.left.wait(), 1)


async def test_stopping_cuts_what_outlives_its_grace():
    is_asked = asyncio.Event()

    async def says(n, write):
        await write(HEAD + chunk({"content": "a"}))
        is_asked.set()
        await asyncio.sleep(FOREVER_S)

    async with upstream(says) as server, started(server.base_url) as runner:
        asking = asyncio.ensure_future(runner.generate(TASK, [], lambda piece: None))
        await is_asked.wait()
        await runner.stop(0.05)
        assert not runner.is_alive
        with pytest.raises(RunnerCrashed):
            await asyncio.wait_for(asking, 2)
        with pytest.raises(RunnerCrashed):
            await runner.generate(TASK, [], lambda piece: None)


async def test_stopping_waits_for_what_ends_in_time():
    is_asked, is_stopping = asyncio.Event(), asyncio.Event()

    async def says(n, write):
        is_asked.set()
        await is_stopping.wait()
        await whole(n, write)

    async with upstream(says) as server, started(server.base_url) as runner:
        asking = asyncio.ensure_future(runner.generate(TASK, [], lambda piece: None))
        await is_asked.wait()
        stopping = asyncio.ensure_future(runner.stop(5))
        is_stopping.set()
        await stopping
        assert (await asking).reason == "stop"


async def test_refusals_are_the_users():
    refused = {"error": {"message": "top_k must be positive", "code": 400}}
    _, error, requests = await asked(lambda n, write: write(plain("400 Bad", refused)))
    assert isinstance(error, InvalidRequest)
    assert "top_k must be positive" in error.message
    assert len(requests) == 1
    long = {"error": {"message": "maximum context length is 10 tokens, you sent 20 tokens", "code": 400}}
    for says in (
        lambda n, write: write(plain("400 Bad", long)),
        lambda n, write: write(HEAD + event(long)),
    ):
        assert isinstance((await asked(says))[1], InputTooLong)


async def test_a_key_that_is_refused_is_named_by_its_variable():
    refused = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    _, error, _ = await asked(lambda n, write: write(plain("401 No", refused)), key_variable="THEIR_KEY")
    assert isinstance(error, RemoteFailed)
    assert "THEIR_KEY" in error.message
    assert KEY not in error.message


@pytest.mark.parametrize("key", ["two words", "line\nend", "schlüssel"])
async def test_a_key_that_no_header_can_hold_is_not_shown(key):
    with pytest.raises(LoadFailed, match="'THEIR_KEY' holds what no key has") as caught:
        async with started("http://127.0.0.1:9/v1", key=key, key_variable="THEIR_KEY"):
            pass
    assert key not in str(caught.value)


async def test_tokens_are_counted_where_the_server_counts():
    async def says(n, write):
        await write(plain("200 OK", {"count": 7, "max_model_len": 100, "tokens": [1] * 7}))

    async with upstream(says) as server, started(server.base_url) as runner:
        assert await runner.count(TASK, []) == 7
    (request,) = server.requests
    assert request.path == "/tokenize"
    assert request.json == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    "answer",
    [plain("404 No", {}), plain("400 No", {}), plain("200 OK", {"tokens": [1]}), plain("200 OK", [])],
)
async def test_tokens_are_not_guessed(answer):
    async with upstream(lambda n, write: write(answer)) as server, started(server.base_url) as runner:
        with pytest.raises(NotSupported, match="does not count tokens"):
            await runner.count(TASK, [])
