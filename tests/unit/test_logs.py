"""Log lines: the request they belong to, as text and as JSON, and nothing that breaks a line."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.clock import on_clock
from turbov2.obs.logs import AccessLog, begin_request, configure_logs, current_request

logger = logging.getLogger("turbov2.test")
ReadLines = Callable[[str], list[str]]


@pytest.fixture
def read_lines(capsys: pytest.CaptureFixture[str]) -> Iterator[ReadLines]:
    """`read_lines("json")` sets logging up; called again, it gives what was written since."""
    root = logging.getLogger()
    pytests, level = root.handlers, root.level

    def read(log_format: str) -> list[str]:
        if root.handlers is not ours:
            root.handlers = ours  # without pytest's, which setting up would close
            configure_logs("info", log_format)
        return capsys.readouterr().err.split("\n")[:-1]

    ours: list[logging.Handler] = []
    yield read
    root.handlers = pytests
    root.setLevel(level)


def in_task(main: Callable[[], Any]) -> None:
    """Runs it as a server runs a request: in a task of its own."""

    async def run() -> None:
        await asyncio.create_task(main())

    asyncio.run(run())


def test_lines_of_a_request_carry_its_id(read_lines: ReadLines):
    read_lines("json")

    async def handle(request_id: str) -> None:
        request = begin_request(request_id)
        await asyncio.sleep(0)  # so that the requests interleave
        logger.info("one")
        await asyncio.to_thread(logger.info, "from a thread")
        await asyncio.create_task(log_later())
        request.end()

    async def log_later() -> None:
        logger.info("from a task")

    async def both() -> None:
        await asyncio.gather(handle("req_a"), handle("req_b"))
        logger.info("outside")

    asyncio.run(both())
    told: dict[str, list[str]] = {}
    for line in map(json.loads, read_lines("json")):
        told.setdefault(line.get("request_id", ""), []).append(line["message"])
    assert told == {
        "": ["outside"],
        "req_a": ["one", "from a thread", "from a task"],
        "req_b": ["one", "from a thread", "from a task"],
    }


def test_what_outlives_a_request_does_not_carry_its_id(read_lines: ReadLines):
    read_lines("json")

    async def main() -> None:
        is_over = asyncio.Event()

        async def live_on() -> None:
            await is_over.wait()
            logger.info("much later")

        request = begin_request("req_a")
        task = asyncio.create_task(live_on())
        request.end()
        is_over.set()
        await task

    in_task(main)
    assert "request_id" not in json.loads(read_lines("json")[0])


def test_the_console_shows_the_id_at_the_end_of_the_line(read_lines: ReadLines):
    read_lines("console")

    async def main() -> None:
        begin_request("req_a")
        logger.info("model loaded")
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            logger.exception("broke")

    in_task(main)
    logger.info("outside")
    first, second, *traceback, last = read_lines("console")
    assert first.endswith("INFO    turbov2.test  model loaded  req_a")
    assert second.endswith("ERROR   turbov2.test  broke  req_a")
    assert traceback[-1] == "ZeroDivisionError"
    assert last.endswith("turbov2.test  outside")


def test_json_lines_have_the_fields_that_were_given(read_lines: ReadLines):
    read_lines("json")
    logger.warning("evicted %s", "a", extra={"event": "evicted", "model": "a", "color_message": "red"})
    line = json.loads(read_lines("json")[0])
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "turbov2.test",
        "message": "evicted a",
        "event": "evicted",
        "model": "a",
    }


@pytest.mark.parametrize("text", ['a\n{"level": "error"}', "a\r\x1b[31mb", "lone \udc80 surrogate", "\u2028"])
def test_no_text_ends_a_json_line_early(read_lines: ReadLines, text: str):
    read_lines("json")
    logger.info("%s", text)
    (line,) = read_lines("json")
    assert json.loads(line)["message"] == text.encode("utf-8", "backslashreplace").decode()


def access_line(is_json: bool, path: str = "/api/embed", **fields: Any) -> str:
    stream = io.StringIO()
    lines: list[str] = []

    @on_clock
    async def write() -> None:
        log = AccessLog(is_json, stream)
        log.write("POST", path, 200, 12.345, 99, "req_a", "", lambda: fields)
        assert stream.getvalue() == ""  # gathered for a moment
        await asyncio.sleep(1)
        lines.extend(stream.getvalue().splitlines())

    write()
    assert len(lines) == 1
    return lines[0]


def test_the_access_line_tells_what_is_known_of_the_request():
    fields = {
        "model": "a",
        "lane": "bulk",
        "n_items": 3,
        "n_tokens": 17,
        "queue_ms": 1.5,
        "inference_ms": 9.0,
    }
    line = json.loads(access_line(is_json=True, **fields))
    assert fields.items() <= line.items()
    assert line["request_id"] == "req_a"
    assert line["ms"] == 12.35 or line["ms"] == 12.34
    assert access_line(is_json=False, **fields).endswith("POST '/api/embed' 200 12.3ms 99B req_a -"), "short"


def test_the_access_line_is_short_when_nothing_is_known():
    assert access_line(is_json=False).endswith("POST '/api/embed' 200 12.3ms 99B req_a -")
    assert "model" not in json.loads(access_line(is_json=True))


@pytest.mark.parametrize("is_json", [True, False])
def test_a_path_cannot_forge_a_line(is_json: bool):
    assert "forged" in access_line(is_json, path="/x\n12:00:00 INFO forged\x1b[31m")


def test_a_request_knows_nothing_before_it_asks_for_a_model():
    async def main() -> None:
        assert current_request() is None
        request = begin_request("req_a")
        assert current_request() is request
        assert request.fields() == {}

    in_task(main)
