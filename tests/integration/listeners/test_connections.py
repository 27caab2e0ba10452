"""What every listener does for its connections: bounds, deadlines, moves, changes while it runs, a stop in order."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.certificates import SERVER, Authority
from tests.support.quic_listener import Sites, acks, frame, served, strange_datagrams
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.config.section import Address
from telemetry_collector.errors import AddressError, CertificateError
from telemetry_collector.listeners.settings import Deadlines, QuicListenerSettings
from telemetry_collector.model import CloseCode, Outcome
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier


async def test_one_address_takes_both_kinds_of_internet(sites: Sites) -> None:
    site = await sites(address=Address("::", 0))
    for sequence, host in enumerate(("127.0.0.1", "::1"), 1):
        async with site.agent(host=host) as node:
            await served(node, sequence)


async def test_garbage_harms_nobody(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        await served(node)
        strange_datagrams(site.listener.address.port)
        await served(node, 2)
    assert site.count("connection_errors_total") == 0


async def test_an_unknown_version_is_told_the_known_one(sites: Sites) -> None:
    site = await sites()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        stranger.connect(("127.0.0.1", site.listener.address.port))
        hello = b"\xc0\xfa\xce\xb0\x0c" + b"\x08" + b"d" * 8 + b"\x04" + b"s" * 4
        stranger.send(hello.ljust(1_200, b"\x00"))
        async with asyncio.timeout(PATIENCE_SECS):
            answer = await loop.sock_recv(stranger, 2_000)
    assert answer[1:5] == b"\x00\x00\x00\x00"
    assert answer[6:10] == b"ssss"
    versions = [answer[place : place + 4] for place in range(19, len(answer), 4)]
    assert b"\x00\x00\x00\x01" in versions


async def test_connections_are_bounded_and_a_place_that_is_free_is_given_again(sites: Sites) -> None:
    site = await sites(connections_max=2)
    async with site.agent() as first:
        await served(first)
        async with site.agent() as second, site.agent() as third:
            for sequence, node in ((2, second), (3, third)):
                node.say(0, frame(sequence))
                await node.until(lambda node=node: bool(node.received(0)) or node.closing is not None)  # type: ignore[misc]
            codes = [node.closing.error_code for node in (second, third) if node.closing is not None]
            assert codes == [CloseCode.TOO_MANY_CONNECTIONS]
        await until(lambda: site.listener.connections == 1)
        async with site.agent() as fourth:
            await served(fourth, 4)
    await site.counted("connections_refused_total", reason="too_many_connections")
    await site.counted("connections_opened_total", 3)


async def test_connections_of_one_identity_are_bounded_and_leave_the_others_their_places(
    sites: Sites, authority: Authority, tmp_path: Path
) -> None:
    site = await sites(connections_per_identity_max=1)
    other = authority.issue(uri="spiffe://fleet/node-2")
    async with site.agent() as first:
        await served(first)
        async with site.agent() as second:
            assert await second.closed() == (CloseCode.TOO_MANY_CONNECTIONS, True)
        async with site.agent(other) as node:
            await served(node, name="node-2")
        server = authority.issue(dns="collector", usages=SERVER).write(tmp_path, "server")
        settings = QuicListenerSettings(site.listener.address, *server, connections_per_identity_max=2)
        await site.listener.reconfigure(settings, ClientVerifier([authority.certificate]), AllowList())
        async with site.agent() as third:
            await served(third, 2)
    await until(lambda: site.listener.connections == 0)
    await site.counted("connections_refused_total", reason="too_many_connections_of_identity")
    await site.counted("connections_opened_total", 3)


async def test_an_address_begins_so_many_connections_a_second(sites: Sites) -> None:
    site = await sites(connections_per_address_per_sec=1)
    async with site.agent() as first, site.agent() as second:
        await served(first)
        await served(second, 2)
        # What is dropped comes again by itself, and by then there is room.
        async with site.agent() as third:
            await served(third, 3)
    await until(lambda: site.count("connections_refused_total", reason="too_many_connections_of_address") >= 1)


async def test_a_stalled_agent_does_not_hold_up_another(sites: Sites) -> None:
    site = await sites()
    async with site.agent(room=4) as deaf, site.agent() as unfinished, site.agent() as good:
        deaf.take_no_more()
        deaf.say(0, b"".join(frame(sequence) for sequence in range(101, 109)))
        unfinished.say(0, (60_000).to_bytes(4, "big") + b"x" * 50_000)
        for sequence in range(1, 31):
            await served(good, sequence)
        assert site.listener.connections == 3
        assert len(deaf.received(0)) <= 4


async def test_slow_peers_are_told_why_they_are_closed(sites: Sites) -> None:
    site = await sites(deadlines=Deadlines(idle=0.4, replies=0.2, frame=0.2))
    async with site.agent(room=4) as deaf, site.agent() as silent:
        deaf.take_no_more()
        deaf.say(0, frame())
        assert await deaf.closed() == (CloseCode.TIMED_OUT, True)
        assert await silent.closed() == (CloseCode.TIMED_OUT, True)
    await site.counted("connections_closed_total", 2, code="timed_out", side="collector")


async def test_another_configuration_holds_for_open_connections_and_for_new_ones(
    sites: Sites, authority: Authority, tmp_path: Path
) -> None:
    site = await sites()
    renewed = authority.issue(dns="collector", usages=SERVER)
    settings = QuicListenerSettings(site.listener.address, *renewed.write(tmp_path, "renewed"), connections_max=1)
    trust = ClientVerifier([authority.certificate]), AllowList()
    async with site.agent() as node:
        await served(node)
        await site.listener.reconfigure(settings, *trust)
        async with site.agent() as other:
            assert await other.closed() == (CloseCode.TOO_MANY_CONNECTIONS, True)
            assert other._quic.tls._peer_certificate == renewed.certificate
        await served(node, 2)
        missing = replace(settings, tls_cert_path=tmp_path / "missing", connections_max=2)
        with pytest.raises(CertificateError, match="missing"):
            await site.listener.reconfigure(missing, *trust)
        assert site.count("connections_max") == 1, "nothing has changed"
        await site.listener.reconfigure(replace(settings, deadlines=Deadlines(idle=0.1)), *trust)
        assert await node.closed() == (CloseCode.TIMED_OUT, True)


async def test_a_certificate_whose_key_is_another_is_not_used(
    sites: Sites, authority: Authority, tmp_path: Path
) -> None:
    site = await sites()
    (certificate, _), (_, key) = (
        authority.issue(dns="localhost", usages=SERVER).write(tmp_path, name) for name in ("one", "two")
    )
    with pytest.raises(CertificateError, match=f"{key} is not the key of {certificate}"):
        await site.listener.reconfigure(
            QuicListenerSettings(site.listener.address, certificate, key),
            ClientVerifier([authority.certificate]),
            AllowList(),
        )


async def test_an_agent_whose_port_changes_keeps_its_connection(sites: Sites) -> None:
    """As behind an address translator that forgot it."""
    site = await sites()
    async with site.agent() as node:
        await served(node)
        loop = asyncio.get_running_loop()
        old = node._transport
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0, 0, 0))
        transport, _ = await loop.create_datagram_endpoint(lambda: node, sock=sock)
        assert old is not None
        old.close()
        await served(node, 2)
        assert site.listener.connections == 1
        await site.counted("connections_opened_total")
        node.close()
        await node.wait_closed()
        transport.close()


async def test_a_stop_says_so_to_all_and_lets_nobody_in(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node, site.agent() as quiet:
        await served(node)
        await until(lambda: site.listener.connections == 2)
        node.say(4, b"".join(frame(sequence) for sequence in range(2, 6)))
        await asyncio.gather(site.listener.stop(PATIENCE_SECS), site.listener.stop(PATIENCE_SECS))
        for one in (node, quiet):
            assert await one.closed() == (CloseCode.SHUTTING_DOWN, True)
        assert {ack.outcome for ack in await acks(node, 4, 4)} <= {Outcome.STORED}
    assert site.listener.connections == 0
    with pytest.raises(RuntimeError, match="not started"):
        _ = site.listener.address
    await site.listener.stop()


async def test_an_address_that_is_taken_is_named(sites: Sites) -> None:
    site = await sites()
    words = f"cannot listen on {site.listener.address}: address already in use; expected .* in server.listen_addr"
    with pytest.raises(AddressError, match=words):
        await sites(address=site.listener.address)
    with pytest.raises(AddressError, match=r"no-such-host\.invalid"):
        await sites(address=Address("no-such-host.invalid", 5_001))


async def test_certificates_that_cannot_be_used_are_named(
    sites: Sites, server: tuple[Path, Path], tmp_path: Path
) -> None:
    """And who could not start is stopped all the same."""
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for cert, key, named in [
        (tmp_path / "missing.pem", server[1], "missing.pem"),
        (server[0], tmp_path / "missing.key", "missing.key"),
        (empty, server[1], "empty.pem"),
        (server[0], empty, "empty.pem"),
    ]:
        with pytest.raises(CertificateError, match=named):
            await sites(tls_cert_path=cert, tls_key_path=key)
