"""Checks of real servers, processes and commands."""

import asyncio
import json
import os
import shlex
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.support.certificates import SERVER, Authority, pem
from tests.support.waiting import until

from telemetry_collector.agent.monitors import MonitorsConfig, MonitorThread, tcp
from telemetry_collector.agent.monitors.outcome import Outcome, Reason, State
from telemetry_collector.agent.monitors.thread import make
from telemetry_collector.clock import SystemClock
from telemetry_collector.sender import Point

PATIENCE = {"interval_secs": 60, "timeout_secs": 20}


def config(**kinds: list[dict[str, Any]]) -> MonitorsConfig:
    named = {
        kind: [{"name": f"{kind}{place}", **each} for place, each in enumerate(listed)]
        for kind, listed in kinds.items()
    }
    return MonitorsConfig.model_validate_json(json.dumps(named))


async def look(kind: str, **settings: object) -> Outcome:
    """One look by one check."""
    (watch,) = make(config(**{kind: [{**PATIENCE, **settings}]}), lambda *_: None)
    return await watch.outcome_since(asyncio.get_running_loop().time())


def measures(outcome: Outcome) -> Mapping[str, float]:
    return {measure.name: measure.value for measure in outcome.measures}


# ---- http


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="all is well, says server 7")


async def _broken(_request: web.Request) -> web.Response:
    return web.Response(status=500)


async def _hang(_request: web.Request) -> web.Response:
    await asyncio.sleep(1_000)
    return web.Response()


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def _redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/ok")


async def _bearer(request: web.Request) -> web.Response:
    return web.Response(status=200 if request.headers.get("Authorization") == "Bearer t0p" else 401)


async def _redirect_to(request: web.Request) -> web.Response:
    if "uri" in request.query:
        return web.Response(status=302, headers={"URI": request.query["uri"]})
    raise web.HTTPFound(request.query["to"])


async def _key(request: web.Request) -> web.Response:
    assert request.headers["User-Agent"].startswith("telemetry-collector/")
    return web.Response(text=request.headers.get("X-Api-Key", "none"))


async def _large_header(_request: web.Request) -> web.Response:
    return web.Response(headers={"X-Large": "x" * 100_000})


async def _query(request: web.Request) -> web.Response:
    return web.Response(status=200 if request.query_string == "of=/" else 404)


def _application() -> web.Application:
    application = web.Application()
    application.router.add_get("/ok", _ok)
    application.router.add_get("/broken", _broken)
    application.router.add_get("/hang", _hang)
    application.router.add_get("/endless", _endless)
    application.router.add_get("/redirect", _redirect)
    application.router.add_get("/bearer", _bearer)
    application.router.add_get("/redirect_to", _redirect_to)
    application.router.add_get("/key", _key)
    application.router.add_get("/loop", _loop)
    application.router.add_get("/large_header", _large_header)
    application.router.add_get("/slash/", _ok)
    application.router.add_get("/query", _query)
    return application


async def _serve(tls: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(_application(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    return runner, int(runner.addresses[0][1])


@pytest.fixture
async def server() -> AsyncIterator[str]:
    runner, port = await _serve()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "settings", "reason", "status"),
    [
        ("/ok", {}, None, 200),
        ("/ok", {"method": "HEAD"}, None, 200),
        ("/broken", {}, Reason.STATUS, 500),
        ("/broken", {"expected_status": [500, 503]}, None, 500),
        ("/ok", {"expected_status": [204]}, Reason.STATUS, 200),
        ("/missing", {}, Reason.STATUS, 404),
        ("/redirect", {}, Reason.STATUS, 302),
        ("/redirect", {"redirects_max": 1}, None, 200),
        ("/ok", {"expected_body": r"server \d"}, None, 200),
        ("/ok", {"expected_body": r"^server"}, Reason.BODY, 200),
        ("/endless", {"expected_body": "y"}, Reason.BODY, 200),
        # Python's own expressions would take longer than the universe has.
        ("/endless", {"expected_body": "(x+x+)+y"}, Reason.BODY, 200),
        ("/bearer", {}, Reason.STATUS, 401),
        ("/bearer", {"headers": {"Authorization": "Bearer t0p"}}, None, 200),
    ],
)
async def test_an_answer_is_as_expected_or_the_check_says_why_not(
    server: str, path: str, settings: dict[str, object], reason: Reason | None, status: int
) -> None:
    outcome = await look("http", url=server + path, **settings)
    assert (outcome.state, outcome.reason) == (State.UP if reason is None else State.DOWN, reason), outcome.detail
    assert measures(outcome) == {"service.check.status_code": status}
    assert 0 < outcome.secs < 10


async def test_configured_headers_follow_redirects_to_the_same_origin_only(server: str) -> None:
    runner, port = await _serve()
    elsewhere = f"http://127.0.0.1:{port}"
    for to, seen in (
        ("/key", "t0p"),
        (f"{server}/key", "t0p"),
        (f"{elsewhere}/key", "none"),
        (f"{elsewhere}/redirect_to?to={server}/key", "none"),
    ):
        path = f"/redirect_to?to={quote(to, safe='')}"
        settings = {"headers": {"X-Api-Key": "t0p"}, "redirects_max": 2, "expected_body": seen}
        assert (await look("http", url=server + path, **settings)).state is State.UP, to
        assert (await look("http", url=server + path.replace("?to", "?uri"), **settings)).state is State.UP, to
    await runner.cleanup()


async def _loop(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"{request.path}?token=s3cret")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/loop?token=s3cret", "redirects more than 2 times"),
        ("/redirect_to?uri=file:///s3cret", "redirects to what is no http:// or https:// address"),
        ("/redirect_to?uri=http://[::1/s3cret", "redirects to what is no http:// or https:// address"),
        ("/redirect_to?uri=http://x:99999/s3cret", "redirects to what is no http:// or https:// address"),
        ("/large_header?s3cret", "Got more than 8190 bytes"),
    ],
)
async def test_an_answer_that_leads_nowhere_is_the_servers_fault_and_told_without_secrets(
    server: str, path: str, problem: str
) -> None:
    outcome = await look("http", url=server + path, redirects_max=2)
    assert (outcome.state, outcome.reason) == (State.DOWN, Reason.PROTOCOL)
    assert outcome.detail.startswith(problem)
    assert "s3cret" not in outcome.detail


async def test_an_address_is_asked_for_as_it_is_written(server: str) -> None:
    for path in ("/slash/", "/query?of=/"):
        outcome = await look("http", url=server + path)
        assert outcome.state is State.UP, (path, outcome.detail)


async def test_a_server_that_does_not_answer_costs_the_timeout_and_no_more(server: str) -> None:
    outcome = await look("http", url=f"{server}/hang", timeout_secs=0.2)
    assert (outcome.state, outcome.reason) == (State.DOWN, Reason.TIMEOUT)
    assert 0.2 <= outcome.secs < 5


async def test_what_answers_but_is_no_web_server_is_told_from_what_does_not_answer(unused_tcp_port: int) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        assert (await look("http", url=f"http://127.0.0.1:{port}")).reason is Reason.PROTOCOL
        assert (await look("http", url=f"https://127.0.0.1:{port}")).reason is Reason.TLS
    assert (await look("http", url=f"http://127.0.0.1:{unused_tcp_port}")).reason is Reason.CONNECT
    assert (await look("http", url="http://nowhere.invalid/")).reason is Reason.NAME


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(pem(authority.certificate))
    return authority


async def _look_with_tls(authority: Authority, directory: Path, days: float, **settings: object) -> Outcome:
    ends = datetime.now(UTC) + timedelta(days=days)
    credentials = authority.issue(dns="localhost", usages=SERVER, not_after=ends)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*credentials.write(directory, "server"))
    runner, port = await _serve(tls)
    try:
        return await look("http", url=f"https://localhost:{port}/ok", **settings)
    finally:
        await runner.cleanup()


async def test_a_certificate_is_verified_and_how_long_it_is_good_is_told(authority: Authority, tmp_path: Path) -> None:
    trusted = {"ca_path": str(tmp_path / "ca.pem")}
    good = await _look_with_tls(authority, tmp_path, 20, **trusted)
    assert good.state is State.UP, good.detail
    assert measures(good)["service.certificate.expiry"] == pytest.approx(20 * 86_400, abs=60)
    soon = await _look_with_tls(authority, tmp_path, 20, certificate_days_min=30, **trusted)
    assert (soon.reason, measures(soon)["service.check.status_code"]) == (Reason.CERTIFICATE, 200)
    assert (await _look_with_tls(authority, tmp_path, 20)).reason is Reason.TLS
    assert (await _look_with_tls(authority, tmp_path, -0.1, **trusted)).reason is Reason.TLS
    unverified = await _look_with_tls(authority, tmp_path, -0.5, verify_certificate=False)
    assert unverified.state is State.UP
    assert measures(unverified)["service.certificate.expiry"] == pytest.approx(-43_200, abs=60)


# ---- tcp


async def test_a_port_accepts_or_does_not(unused_tcp_port: int) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        assert (await look("tcp", address=f"127.0.0.1:{port}")).state is State.UP
        assert (await look("tcp", address=f"localhost:{port}")).state is State.UP, "by whichever address it has"
    closed = await look("tcp", address=f"127.0.0.1:{unused_tcp_port}")
    assert (closed.state, closed.reason) == (State.DOWN, Reason.CONNECT)
    assert (await look("tcp", address="a..b:80")).reason is Reason.NAME


async def test_an_address_that_never_answers_does_not_keep_the_others_from_being_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def both(*_: object) -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")]

    monkeypatch.setattr(tcp, "addresses", both)
    with socket.socket() as silent, ExitStack() as waiting:
        silent.bind(("127.0.0.2", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        for _ in range(4):  # nobody accepts: the queue is full, and the kernel drops what else comes
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(("127.0.0.2", port))
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
            assert (await look("tcp", address=f"name:{port}", timeout_secs=1)).state is State.UP
        assert (await look("tcp", address=f"name:{port}", timeout_secs=1)).reason is Reason.CONNECT


# ---- process


async def test_a_process_is_found_by_its_file_by_its_name_and_by_both(tmp_path: Path) -> None:
    own, pid_file = psutil.Process(), tmp_path / "service.pid"
    pid_file.write_text(f"{own.pid}\n")
    found = await look("process", pid_file=str(pid_file))
    assert (found.state, measures(found)) == (State.UP, {"service.process.count": 1})
    assert (await look("process", pid_file=str(pid_file), pattern=own.name()[:4] + "*")).state is State.UP
    # The number may have gone to another program since.
    assert (await look("process", pid_file=str(pid_file), pattern="no-such*")).reason is Reason.PROCESSES
    assert (await look("process", pattern=own.name())).state is State.UP
    assert (await look("process", pattern="no-such-*")).reason is Reason.PROCESSES
    assert (await look("process", pattern="no-such-*", processes_min=0)).state is State.UP
    many = await look("process", pattern="*", processes_max=1)
    assert (many.reason, measures(many)["service.process.count"] > 1) == (Reason.PROCESSES, True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, Reason.PROCESSES),
        ("4194999", Reason.PROCESSES),
        ("9" * 60, Reason.PROCESSES),
        ("-1", Reason.FAULT),
        ("", Reason.FAULT),
        ("1" * 1_000_000, Reason.FAULT),
    ],
)
async def test_a_file_without_a_living_process_is_down(tmp_path: Path, content: str | None, reason: Reason) -> None:
    pid_file = tmp_path / "service.pid"
    if content is not None:
        pid_file.write_text(content)
    assert (await look("process", pid_file=str(pid_file))).reason is reason


@pytest.fixture
def ended() -> Iterator[int]:
    """A process that nobody has collected."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    os.waitpid(pid, 0)


async def test_a_process_that_has_ended_and_waits_for_its_parent_is_down(tmp_path: Path, ended: int) -> None:
    pid_file = tmp_path / "service.pid"
    pid_file.write_text(str(ended))
    assert (await look("process", pid_file=str(pid_file))).reason is Reason.PROCESSES


# ---- command


async def test_a_command_ends_as_expected_or_its_first_words_are_told() -> None:
    assert (await look("command", command=["true"])).state is State.UP
    failed = await look("command", shell="echo the disk is full >&2; exit 3")
    assert (failed.reason, failed.detail) == (Reason.EXIT, "/bin/sh ended with 3: the disk is full")
    assert measures(failed) == {"service.check.exit_code": 3}
    assert (await look("command", shell="exit 3", expected_exit=[0, 3])).state is State.UP
    assert (await look("command", command=["/no/such/program"])).reason is Reason.START
    # Without a shell nobody reads this as more than a word.
    assert (await look("command", command=["echo", "; exit 1"])).state is State.UP
    killed = await look("command", shell="kill -9 $$")
    assert killed.detail == "/bin/sh was ended by signal 9"


async def test_what_a_command_prints_is_bounded_and_never_holds_it_up() -> None:
    outcome = await look("command", shell="head -c 20000000 /dev/zero | tr '\\0' x; exit 1")
    assert outcome.reason is Reason.EXIT
    assert len(outcome.detail) <= 300


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_command_is_killed_with_its_group_at_its_timeout(tmp_path: Path) -> None:
    file = shlex.quote(str(tmp_path / "pid"))
    outcome = await look("command", shell=f"trap '' TERM; sleep 900 & echo $! > {file}; wait", timeout_secs=0.5)
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.secs < 5
    grandchild = int((tmp_path / "pid").read_text())
    await until(lambda: not _alive(grandchild))


async def test_a_command_is_killed_with_its_group_also_when_its_time_is_over_while_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    starting = subprocess.Popen.__init__

    def slow(process: "subprocess.Popen[bytes]", *args: Any, **kwargs: Any) -> None:
        starting(process, *args, **kwargs)
        while not pid.exists():  # as long as the command takes to have a child of its own
            os.sched_yield()
        looking.cancel()

    monkeypatch.setattr(subprocess.Popen, "__init__", slow)
    file = shlex.quote(str(pid))
    looking = asyncio.ensure_future(
        look("command", shell=f"sleep 900 & echo $! > {file}.new; mv {file}.new {file}; wait")
    )
    with pytest.raises(asyncio.CancelledError):
        await looking
    grandchild = int(pid.read_text())
    await until(lambda: not _alive(grandchild))


async def test_a_grandchild_that_keeps_the_output_open_does_not_hold_the_check_and_does_not_stay(
    tmp_path: Path,
) -> None:
    file = shlex.quote(str(tmp_path / "pid"))
    outcome = await look("command", shell=f"sleep 900 & echo $! > {file}; exit 0")
    assert (outcome.state, outcome.secs < 10) == (State.UP, True)
    grandchild = int((tmp_path / "pid").read_text())
    await until(lambda: not _alive(grandchild))


async def test_looks_leave_no_file_open(server: str) -> None:
    process = psutil.Process()
    settings = config(
        http=[{**PATIENCE, "url": f"{server}/ok"}, {**PATIENCE, "url": "http://127.0.0.1:9/"}],
        tcp=[{**PATIENCE, "address": server.removeprefix("http://")}],
        command=[{**PATIENCE, "command": ["true"]}, {**PATIENCE, "command": ["/none"]}],
    )
    watches = make(settings, lambda *_: None)

    async def all_of_them() -> int:
        for watch in watches:
            await watch.outcome_since(asyncio.get_running_loop().time())
        return process.num_fds()

    before = await all_of_them()
    for _ in range(5):
        await all_of_them()
    await until(lambda: process.num_fds() <= before)


# ---- the thread


def value(points: list[Point], name: str, **tags: str) -> float | None:
    fitting = [point for point in points if point.name == name and set(tags.items()) <= set(point.tags)]
    return fitting[0].value if fitting else None


async def test_a_service_that_goes_down_and_comes_back_is_counted_and_told_once_each(
    server: str, tmp_path: Path
) -> None:
    registry = CollectorRegistry()
    monitors, pid_file = MonitorThread(registry, SystemClock()), tmp_path / "service.pid"
    pid_file.write_text(str(os.getpid()))
    often = {"interval_secs": 0.5, "timeout_secs": 0.5}
    shop = {**PATIENCE, "url": f"{server}/ok", "service": "shop", "depends_on": ["process0"]}
    settings = config(process=[{**often, "pid_file": str(pid_file)}], http=[shop])
    monitors.start(settings)

    def read() -> list[Point]:
        return list(monitors.source.read())

    def told(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"telemetry_collector_{name}_total", labels)

    try:
        await until(lambda: value(read(), "service.check.up", check="process0") == 1)
        pid_file.unlink()
        await until(lambda: value(read(), "service.check.up", check="process0") == 0)
        await until(lambda: (value(read(), "service.check.failures", check="process0") or 0) >= 2)
        pid_file.write_text(str(os.getpid()))
        await until(lambda: value(read(), "service.check.up", check="process0") == 1)
        tags = {"service": "shop", "check": "http0", "kind": "http", "target": f"{server}/ok"}
        await until(lambda: value(read(), "service.check.status_code", **tags) == 200)
        points = read()
        assert value(points, "service.check.blocked", **tags) == 0
        assert value(points, "service.dependency.up", service="shop", check="http0", dependency="process0") == 1
    finally:
        await monitors.stop()
        await monitors.stop()
    assert told("agent_checks_recovered") == 1
    assert told("agent_checks_failed", state="down") == 1


async def test_checks_that_stay_the_same_go_on_and_stopping_ends_commands(tmp_path: Path) -> None:
    monitors, file = MonitorThread(CollectorRegistry(), SystemClock()), tmp_path / "pid"
    settings = config(command=[{**PATIENCE, "shell": f"echo $$ > {shlex.quote(str(file))}; exec sleep 900"}])
    monitors.start(settings)
    await until(lambda: file.exists() and file.read_text().strip())
    command = int(file.read_text())
    await monitors.stop_unless(settings)
    monitors.start(settings)
    assert _alive(command)
    await monitors.stop_unless(MonitorsConfig())
    assert not _alive(command)
    monitors.start(MonitorsConfig())
    assert list(monitors.source.read()) == []
    await monitors.stop()
