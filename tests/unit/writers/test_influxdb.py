"""The InfluxDB writer against a server on a bad day: no line is lost but those refused, and those are counted."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from tests.support.blocks import FakeBlocks, Point, blocks_of
from tests.support.influx import FakeInflux, Reply, Request
from tests.support.waiting import until
from tests.support.writing import Observed

from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import RetryableError
from telemetry_collector.writers.answer import Answer, Verdict
from telemetry_collector.writers.influxdb import InfluxConfig, InfluxWriter, _halves


def config(url: str, **keys: Any) -> InfluxConfig:
    return InfluxConfig(url=url, org="org", bucket="bucket", token=SecretStr("very-secret"), **keys)


@asynccontextmanager
async def started(
    url: str, observed: Observed | None = None, clock: ManualClock | None = None, **keys: Any
) -> AsyncIterator[InfluxWriter]:
    settings = config(url, **keys)
    context = (observed or Observed()).context("influxdb", clock=clock, retry_secs_max=settings.retry_secs_max)
    writer = InfluxWriter(settings, context, clock)
    assert await writer.start(0) == 0
    try:
        yield writer
    finally:
        await writer.stop()


def lines(count: int) -> list[bytes]:
    return b"".join(blocks_of(count, 0).line_protocol(1 << 20).chunks).splitlines()


# Sending.


async def test_lines_arrive_with_what_the_server_needs_to_know() -> None:
    observed = Observed()
    async with FakeInflux() as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(10, 0))
        assert influx.requests == [], "fewer than a body's bytes wait for the flush"
        assert await writer.flush() == 10
        (request,) = influx.requests
        assert request.lines == lines(10)
        assert request.query == {"org": "org", "bucket": "bucket", "precision": "ns"}
        assert request.token == "Token very-secret"
        assert observed.count("points", "influxdb") == 10
        assert observed.count("requests", "influxdb") == 1
        assert observed.count("bytes", "influxdb") == request.wire_bytes


async def test_bodies_are_filled_and_bounded_and_in_order() -> None:
    async with FakeInflux() as influx, started(influx.url, batch_bytes=4096) as writer:
        for start in range(0, 500, 25):
            await writer.write(blocks_of(25, start, first=start))
        assert await writer.flush() == 500
        assert influx.accepted == lines(500)
        sizes = [len(request.body) for request in influx.requests]
        assert max(sizes) <= 4096
        assert min(sizes[:-1]) > 2048


async def test_flushing_nothing_sends_nothing() -> None:
    async with FakeInflux() as influx, started(influx.url) as writer:
        await writer.write(FakeBlocks([], 0, 30))
        assert await writer.flush() == 30
        assert influx.requests == []


async def test_rewritten_points_are_counted() -> None:
    observed = Observed()
    async with FakeInflux() as influx, started(influx.url, observed) as writer:
        await writer.write(FakeBlocks([Point(), Point()], 0, 30, rewritten=2))
        await writer.flush()
    assert observed.count("points_rewritten", "influxdb") == 2


@pytest.mark.parametrize(("setting", "encoding"), [("auto", ""), ("off", ""), ("on", "gzip")])
async def test_gzip_is_spent_where_asked_for_and_not_on_loopback(setting: str, encoding: str) -> None:
    async with FakeInflux() as influx, started(influx.url, gzip=setting) as writer:
        await writer.write(blocks_of(1000, 0))
        await writer.flush()
        (request,) = influx.requests
        assert request.encoding == encoding
        assert request.lines == lines(1000)
        assert (request.wire_bytes < len(request.body) / 4) == (encoding == "gzip")


@pytest.mark.parametrize(
    ("url", "compress"),
    [
        ("http://localhost:8086", False),
        ("http://127.3.2.1:8086", False),
        ("http://[::1]:8086", False),
        ("http://influx.localhost", False),
        ("https://influx.example.org", True),
        ("http://10.0.0.1:8086", True),
        ("http://[2001:db8::1]", True),
    ],
)
def test_automatic_compression_is_for_what_leaves_the_machine(url: str, compress: bool) -> None:
    writer = InfluxWriter(config(url), Observed().context("influxdb"))
    assert writer._compress is compress


# Answers that pass.


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "throttled"),
        (503, "unavailable"),
        (500, "unavailable"),
        (408, "timeout"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "not_found"),
        (307, "unexpected_answer"),
        (200, "unexpected_answer"),
    ],
)
async def test_a_fault_that_may_pass_is_waited_for_and_nothing_is_lost(status: int, reason: str) -> None:
    observed, clock = Observed(), ManualClock()
    bad = Reply(status, "come back later", {"Location": "/elsewhere"})
    async with FakeInflux(bad, bad) as influx, started(influx.url, observed, clock) as writer:
        await writer.write(blocks_of(10, 0))
        flushing = asyncio.create_task(writer.flush())
        for attempts in (1, 2):
            await until(lambda: clock.sleepers == 1)
            assert len(influx.requests) == attempts
            assert not flushing.done()
            assert observed.count("failures", "influxdb", reason=reason) == attempts
            clock.advance(30)
        assert await flushing == 10
        assert influx.accepted == lines(10)
        assert observed.count("points", "influxdb") == 10
        assert observed.count("points_refused", "influxdb", reason=reason) == 0


async def test_the_pause_grows_up_to_its_bound() -> None:
    clock, pauses = ManualClock(), []
    sleep = clock.sleep

    async def noted(secs: float) -> None:
        pauses.append(secs)
        await sleep(secs)

    clock.sleep = noted  # type: ignore[method-assign]
    bad = [Reply(503)] * 8
    async with FakeInflux(*bad) as influx, started(influx.url, clock=clock, retry_secs_max=4) as writer:
        await writer.write(blocks_of(1, 0))
        flushing = asyncio.create_task(writer.flush())
        while len(pauses) < 8:
            await until(lambda: clock.sleepers == 1)
            clock.advance(5)
        await flushing
    for pause, ceiling in zip(pauses, [0.5, 1, 2, 4, 4, 4, 4, 4], strict=True):
        assert ceiling / 2 <= pause <= ceiling


@pytest.mark.parametrize(("header", "low", "high"), [("7", 7, 7.25), ("86400", 300, 300.25)])
async def test_retry_after_is_honoured_within_reason(header: str, low: float, high: float) -> None:
    clock, pauses = ManualClock(), []
    sleep = clock.sleep

    async def noted(secs: float) -> None:
        pauses.append(secs)
        await sleep(secs)

    clock.sleep = noted  # type: ignore[method-assign]
    async with (
        FakeInflux(Reply(429, headers={"Retry-After": header})) as influx,
        started(influx.url, clock=clock) as writer,
    ):
        await writer.write(blocks_of(1, 0))
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.sleepers == 1)
        clock.advance(400)
        await flushing
    (pause,) = pauses
    assert low <= pause <= high


async def test_a_destination_that_is_not_there_yet_is_waited_for() -> None:
    observed, clock = Observed(), ManualClock()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with started(url, observed, clock) as writer:
        await writer.write(blocks_of(1, 0))
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.sleepers == 1)
        assert observed.count("failures", "influxdb", reason="connection") == 1
        await writer.stop()
        with pytest.raises(RetryableError):
            await flushing


async def test_a_destination_that_never_answers_times_out() -> None:
    observed, clock = Observed(), ManualClock()
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, connection: connections.append(connection), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with started(url, observed, clock, timeout_secs=0.05) as writer:
        await writer.write(blocks_of(1, 0))
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.sleepers == 1)
        assert observed.count("failures", "influxdb", reason="timeout") == 1
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
    for connection in connections:
        connection.close()
        await connection.wait_closed()
    server.close()


# Answers that are final.


def refusing(*bad: bytes, status: int = 400) -> Callable[[Request], Reply]:
    """Refuses every body with one of these lines in it, as a server does that checks all before it writes any."""

    def judge(request: Request) -> Reply:
        found = [line for line in request.lines if line in bad]
        return Reply(status, f'{{"code":"invalid","message":"unable to parse {found[0]!r}"}}') if found else Reply()

    return judge


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("index", [0, 2499, 4999])
async def test_one_bad_line_costs_that_line_alone(status: int, index: int) -> None:
    observed = Observed()
    bad = lines(5000)[index]
    async with FakeInflux(judge=refusing(bad, status=status)) as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(5000, 0))
        assert await writer.flush() == 5000
        assert sorted(influx.accepted) == sorted(line for line in lines(5000) if line != bad)
        assert len(influx.requests) < 40
    reason = {400: "bad_request", 409: "conflict", 422: "unprocessable"}[status]
    assert observed.count("points_refused", "influxdb", reason=reason) == 1
    assert observed.count("points", "influxdb") == 4999


async def test_one_bad_line_in_a_hundred_costs_those_lines_alone() -> None:
    observed = Observed()
    bad = lines(5000)[37::100]
    async with FakeInflux(judge=refusing(*bad)) as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(5000, 0))
        assert await writer.flush() == 5000
        assert influx.accepted == [line for line in lines(5000) if line not in bad], "in order, and none twice"
        assert len(influx.requests) < 5000 / 4, "the destination's work has a bound"
    assert observed.count("points_refused", "influxdb", reason="bad_request") == len(bad)


async def test_where_all_is_refused_the_search_is_bounded_and_all_is_counted() -> None:
    observed = Observed()
    async with FakeInflux(judge=lambda _: Reply(400, "no")) as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(5000, 0))
        assert await writer.flush() == 5000, "what is refused for good is passed, never tried for ever"
        assert len(influx.requests) == 1 + 2 * 24
    assert observed.count("points_refused", "influxdb", reason="bad_request") == 5000
    assert observed.count("points", "influxdb") == 0


async def test_a_201_that_speaks_of_lines_left_out_is_no_acceptance() -> None:
    observed = Observed()
    partial = Reply(201, '{"message": "partial write: 1 line rejected"}')
    async with FakeInflux(partial) as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(1, 0))
        await writer.flush()
    assert observed.count("points_refused", "influxdb", reason="partial_write") == 1


async def test_bodies_that_are_too_large_become_smaller_and_stay_so_for_a_while() -> None:
    observed = Observed()

    def small_only(request: Request) -> Reply:
        return Reply(413) if len(request.body) > 10_000 else Reply()

    async with FakeInflux(judge=small_only) as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(2000, 0))
        await writer.flush()
        assert influx.accepted == lines(2000)
        begun = len(influx.requests)
        await writer.write(blocks_of(2000, 2000))
        await writer.flush()
        assert all(len(request.body) <= 10_000 for request in influx.requests[begun:])
    assert observed.count("points", "influxdb") == 4000


async def test_a_line_that_is_too_large_by_itself_is_counted_and_passed() -> None:
    observed = Observed()
    async with FakeInflux(judge=lambda _: Reply(413)) as influx, started(influx.url, observed) as writer:
        await writer.write(blocks_of(4, 0))
        assert await writer.flush() == 4
        assert len(influx.requests) == 7
    assert observed.count("points_refused", "influxdb", reason="too_large") == 4


@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda line: line.replace(b"\n", b"-")), min_size=2))
def test_halves_are_whole_lines_and_lose_none(parts: list[bytes]) -> None:
    piece = b"".join(part + b"\n" for part in parts)
    first, second = _halves(piece)
    assert first + second == piece
    assert first.endswith(b"\n")
    assert second.endswith(b"\n")
    assert b"\n" in first
    assert b"\n" in second


@given(st.integers(100, 999), st.binary(max_size=3000))
def test_every_answer_has_a_verdict_and_bounded_words(status: int, body: bytes) -> None:
    answer = Answer.of_status(status, body, {})
    assert isinstance(answer.verdict, Verdict)
    assert 0 < len(answer.words) < 1100
    assert answer.reason.isidentifier()


# Stopping and secrets.


async def test_what_was_not_flushed_is_forgotten_and_asked_for_again() -> None:
    async with FakeInflux() as influx, started(influx.url) as writer:
        await writer.write(blocks_of(10, 0))
        await writer.stop()
        assert await writer.start(0) == 0
        assert await writer.flush() == 0
        assert influx.requests == []


async def test_stopping_ends_a_write_that_waits() -> None:
    clock = ManualClock()
    async with FakeInflux(judge=lambda _: Reply(503)) as influx, started(influx.url, clock=clock) as writer:
        await writer.write(blocks_of(10, 0))
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.sleepers == 1)
        await writer.stop()
        with pytest.raises(RetryableError, match="stopped"):
            await flushing


async def test_the_token_is_in_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    async with FakeInflux(Reply(401, "unauthorized access")) as influx, started(influx.url, clock=clock) as writer:
        await writer.write(blocks_of(1, 0))
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.sleepers == 1)
        clock.advance(30)
        await flushing
        assert "very-secret" not in repr(writer._config)
    shown = capsys.readouterr()
    assert "unauthorized access" in shown.out + shown.err
    assert "very-secret" not in shown.out + shown.err


def test_credentials_in_the_address_are_a_mistake() -> None:
    with pytest.raises(ValidationError, match="without a user or password"):
        config("http://user:password@influx.example.org")


@pytest.mark.parametrize(("written", "meant"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_a_bare_on_or_off_in_yaml_is_understood(written: object, meant: str) -> None:
    assert config("http://localhost", gzip=written).gzip == meant
