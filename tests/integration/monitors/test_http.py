"""Checks of real web servers, with TLS and without."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support.certificates import SERVER, Authority, pem
from tests.support.checked_server import serve
from tests.support.checks import look, measures

from telemetry_collector.agent.monitors.outcome import Outcome, Reason, State


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
    runner, port = await serve()
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
    runner, port = await serve(tls)
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
