"""What a log line looks like."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from service.settings import Telemetry
from service.telemetry.logging import configure_logging


@pytest.fixture(autouse=True)
def everything_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_one_event_is_one_line_with_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Telemetry(log_format="json"))
    structlog.contextvars.bind_contextvars(request_id="r1")
    structlog.get_logger("x").info("version_committed", size_bytes=5, key="a\r\nb")
    [line] = lines(capsys)
    assert line["event"] == "version_committed"
    assert line["request_id"] == "r1"
    assert line["size_bytes"] == 5
    assert line["key"] == "a\r\nb"
    assert line["level"] == "info"
    assert str(line["timestamp"]).endswith("Z")


def test_a_worker_tells_its_number_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Telemetry(log_format="json"), worker=2)
    structlog.get_logger().info("ours")
    logging.getLogger("aiohttp.server").error("theirs")
    assert [line["worker"] for line in lines(capsys)] == [2, 2]


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Telemetry(log_format="json", log_level="warning"))
    structlog.get_logger().info("quiet")
    logging.getLogger("aiohttp.server").info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_the_standard_library_speaks_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Telemetry(log_format="json"))
    error = ValueError("broken")
    logging.getLogger("aiohttp.server").error("it failed for %s", "them", exc_info=error)
    [line] = lines(capsys)
    assert line["event"] == "it failed for them"
    assert "ValueError: broken" in str(line["exception"])


def test_pretty_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Telemetry(log_format="pretty"))
    structlog.get_logger().info("hello", size_bytes=5)
    text = capsys.readouterr().err
    assert "hello" in text
    assert not text.startswith("{")


def test_a_field_that_json_does_not_know_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Telemetry(log_format="json"))
    structlog.get_logger().info("odd", what=object(), broken="\ud800", big=1 << 70)
    assert len(lines(capsys)) == 1
