"""The socket, on loopback."""

import socket
import struct

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.waiting import until

from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.datagrams import RECEIVE_BYTES_MAX, DatagramSocket, Path

UDP_SEGMENT = 103


class Reader:
    """What a socket handed over, wake-up by wake-up."""

    def __init__(self, listening: DatagramSocket) -> None:
        self.datagrams: list[bytes] = []
        self.wake_ups: list[int] = []
        self.paths: set[Path] = set()
        self._new = 0
        listening.start(self._received, self._through)

    def _received(self, data: bytes, path: Path) -> None:
        self.datagrams.append(data)
        self.paths.add(path)
        self._new += len(data)

    def _through(self) -> None:
        self.wake_ups.append(self._new)
        self._new = 0

    async def take(self, count: int) -> None:
        await until(lambda: len(self.datagrams) >= count)


async def bound(buffer_bytes: int = 4 * 1024 * 1024) -> DatagramSocket:
    return await DatagramSocket.bind(
        Address("127.0.0.1", 0),
        receive_buffer_bytes=buffer_bytes,
        send_buffer_bytes=64 * 1024,
        events=ListenerEvents(CollectorRegistry()),
    )


def stranger(listening: DatagramSocket) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((listening.address.host, listening.address.port))
    return sock


@pytest.mark.parametrize("tail", [0, 1, 999])
async def test_datagrams_that_came_in_one_piece_are_taken_apart(tail: int) -> None:
    """The sender lets the kernel cut one large write, so that the receiver gets it joined."""
    listening = await bound()
    reader = Reader(listening)
    data = bytes(range(250)) * 4 * 20 + b"t" * tail
    with stranger(listening) as sock:
        sock.sendmsg([data], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", 1_000))])
        await reader.take(20 + bool(tail))
    listening.close()
    assert [len(datagram) for datagram in reader.datagrams] == [1_000] * 20 + ([tail] if tail else [])
    assert b"".join(reader.datagrams) == data
    assert len(reader.wake_ups) == 1


async def test_datagrams_that_came_alone_stay_what_they_are() -> None:
    listening = await bound()
    reader = Reader(listening)
    sizes = [1, 1_200, 1_452, 9_000, 40_000, 1]
    with stranger(listening) as sock:
        for size in sizes:
            sock.send(b"x" * size)
        await reader.take(len(sizes))
        assert reader.paths == {Path(sock.getsockname())}
        listening.send(b"answer", Path(sock.getsockname()))
        assert sock.recv(100) == b"answer"
    listening.close()
    assert [len(datagram) for datagram in reader.datagrams] == sizes


async def test_a_wake_up_reads_a_bounded_amount_and_the_rest_comes_later() -> None:
    listening = await bound()
    with stranger(listening) as sock:
        for _ in range(40):
            sock.send(b"x" * 30_000)
        reader = Reader(listening)
        await reader.take(40)
    listening.close()
    assert len(reader.wake_ups) > 1
    assert max(reader.wake_ups) <= RECEIVE_BYTES_MAX + 65_535


@pytest.mark.parametrize(
    ("wildcard", "family", "written_to"),
    [
        ("0.0.0.0", socket.AF_INET, "127.0.0.2"),
        ("::", socket.AF_INET, "127.0.0.3"),
        ("::", socket.AF_INET6, "::1"),
    ],
)
async def test_a_host_with_many_addresses_answers_from_the_one_written_to(
    wildcard: str, family: socket.AddressFamily, written_to: str
) -> None:
    listening = await DatagramSocket.bind(
        Address(wildcard, 0),
        receive_buffer_bytes=65_536,
        send_buffer_bytes=65_536,
        events=ListenerEvents(CollectorRegistry()),
    )
    reader = Reader(listening)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        # A connected socket takes what comes from that address only.
        sock.connect((written_to, listening.address.port))
        sock.settimeout(10)
        sock.send(b"question")
        await reader.take(1)
        (path,) = reader.paths
        listening.send(b"answer", path)
        assert sock.recv(100) == b"answer"
    listening.close()


async def test_a_buffer_smaller_than_wanted_is_told_with_what_to_do() -> None:
    with capture_logs() as lines:
        (await bound(buffer_bytes=1 << 30)).close()
    advice = [line["advice"] for line in lines if "advice" in line]
    assert advice == [f"sysctl -w net.core.rmem_max={1 << 30}"]


async def test_what_cannot_be_sent_is_counted_and_harms_nothing() -> None:
    registry = CollectorRegistry()
    listening = await DatagramSocket.bind(
        Address("127.0.0.1", 0),
        receive_buffer_bytes=65_536,
        send_buffer_bytes=65_536,
        events=ListenerEvents(registry),
    )
    listening.send(b"x" * 70_000, Path(("127.0.0.1", 9)))
    assert registry.get_sample_value("telemetry_collector_datagrams_dropped_total", {"reason": "not_sent"}) == 1
    listening.close()
    listening.close()


async def test_what_the_kernel_had_no_room_for_is_counted() -> None:
    registry = CollectorRegistry()
    listening = await DatagramSocket.bind(
        Address("127.0.0.1", 0), receive_buffer_bytes=4_096, send_buffer_bytes=65_536, events=ListenerEvents(registry)
    )

    def lost() -> float:
        listening.count_lost()
        return registry.get_sample_value("telemetry_collector_datagrams_dropped_total", {"reason": "kernel"}) or 0

    assert lost() == 0
    with stranger(listening) as sock:
        for _ in range(100):
            sock.send(b"x" * 1_000)
    await until(lost)
    reader = Reader(listening)
    await reader.take(1)
    assert lost() == 100 - len(reader.datagrams)
    listening.close()
