"""What log lines look like, and what is never in one."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from telemetry_collector.observe.logs import MASK, Format, Level, configure, logger

log = logger("a.module")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(level: Level = "info", form: Format = "json") -> io.StringIO:
    stream = io.StringIO()
    configure(level, form, stream)
    return stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_json_line_has_time_level_logger_and_event_first() -> None:
    stream = configured()
    log.info("connection_opened", identity="node-1", batches=3)
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "logger", "event", "identity", "batches"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["logger"], line["event"]) == ("info", "a.module", "connection_opened")
    assert (line["identity"], line["batches"]) == ("node-1", 3)


def test_a_console_line_is_for_people() -> None:
    stream = configured(form="console")
    log.warning("journal_full", bytes=5)
    assert "journal_full" in stream.getvalue()
    assert "bytes=5" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_auto_is_console_with_colours_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure("info", "auto", terminal)
    log.info("one")
    configure("info", "auto", pipe)
    log.info("two")
    assert "\x1b[" in terminal.getvalue()
    assert "two" not in terminal.getvalue()
    assert lines(pipe)[0]["event"] == "two"


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("warning", ["w", "e"]),
        ("error", ["e"]),
    ],
)
def test_nothing_below_the_level_is_logged(level: Level, events: list[str]) -> None:
    stream = configured(level)
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert [line["event"] for line in lines(stream)] == events


def test_a_logger_made_before_follows_every_later_configuration() -> None:
    configured("error")
    stream = configured("debug")
    log.debug("seen")
    assert [line["event"] for line in lines(stream)] == ["seen"]


def test_what_libraries_log_takes_the_same_way() -> None:
    stream = configured()
    logging.getLogger("some.library").warning("lost %d of %s", 3, "x", extra={"attempt": 2})
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("lost 3 of x", "some.library", "warning")
    assert line["attempt"] == 2


def test_chatty_libraries_are_quiet_unless_debugging() -> None:
    stream = configured("info")
    logging.getLogger("quic").info("packet")
    logging.getLogger("quic").warning("a stranger's handshake failed")
    logging.getLogger("aiohttp").info("request")
    assert stream.getvalue() == ""
    logging.getLogger("quic").error("told")
    logging.getLogger("aiohttp").warning("told")
    assert len(lines(stream)) == 2
    stream = configured("debug")
    logging.getLogger("quic").info("packet")
    assert len(lines(stream)) == 1


def test_python_warnings_are_logged() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", stacklevel=1)
    assert "old thing" in lines(stream)[0]["event"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_has_its_traceback_without_local_variables(form: Format) -> None:
    stream = configured(form=form)
    try:
        password = "hunter2-local"
        raise ValueError(f"wrong for {len(password)}")
    except ValueError:
        log.exception("attempt_failed")
    assert "ValueError: wrong for 13" in stream.getvalue()
    assert "Traceback" in stream.getvalue()
    assert "password =" not in stream.getvalue().replace('password = "hunter2-local"', "")
    assert "'hunter2-local'" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"token": "hunter2"},
        {"influxdb_token": "hunter2"},
        {"influxdb.token": "hunter2"},
        {"Authorization": "hunter2"},
        {"client_secret": "hunter2"},
        {"headers": {"authorization": "hunter2", "a": "b"}},
        {"tries": [{"password": "hunter2"}]},
        {"value": SecretStr("hunter2")},
        {"url": "https://me:hunter2@db:8086/x"},
        {"error": "cannot reach https://hunter2@db:8086/x at all"},
        {"urls": ("http://me:hunter2@db", "http://b")},
    ],
)
def test_secrets_are_masked(form: Format, fields: dict[str, Any]) -> None:
    stream = configured(form=form)
    log.info("event", **fields)
    assert "hunter2" not in stream.getvalue()
    assert MASK in stream.getvalue()


def test_what_only_sounds_secret_is_shown() -> None:
    stream = configured()
    log.info("event", tokens=5, secretary="x", token=None, path="a//b@c")
    (line,) = lines(stream)
    assert (line["tokens"], line["secretary"], line["token"], line["path"]) == (5, "x", None, "a//b@c")


def test_values_that_json_lacks_are_written_as_text() -> None:
    stream = configured()
    log.info("event", error=ValueError("bad"), names={"a"})
    (line,) = lines(stream)
    assert (line["error"], line["names"]) == ("bad", "{'a'}")
