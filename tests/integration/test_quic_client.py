"""The core's QUIC client by itself: its bounds, and what it tells of a collector that is not there."""

import asyncio
import gc
import os
import select
import socket
import time
import weakref
from pathlib import Path

import pytest
from tests.support.quic_collector import QuicCollector
from tests.support.waiting import until

from telemetry_collector._core import CoreError, FrameEncoder, QuicClient, QuicConnection
from telemetry_collector.config import Address
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender import Sender, TransportSettings
from telemetry_collector.sender.events import ConnectFailed
from telemetry_collector.sender.over_quinn import credentials

QUEUED_BYTES_MAX = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["localhost"], file="server")
    authority.issue_node("node-1")
    authority.issue_node("node-2")
    return directory


@pytest.fixture
def nobody() -> int:
    """A port at which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


def connect(client: QuicClient, certificates: Path, port: int) -> QuicConnection:
    node = credentials(certificates / "node-1.pem", certificates / "node-1.key", certificates / "ca.pem")
    return client.connect("127.0.0.1", port, server_name="localhost", credentials=node)


async def test_a_stream_that_is_over_is_never_opened_again_under_its_number(certificates: Path) -> None:
    """What were answered on the second would be taken for an answer on the first, or for none."""
    client, encoder = QuicClient(), FrameEncoder()
    heard: set[tuple[str, int]] = set()

    async def hears(kind: str, stream: int = -1) -> None:
        def arrived() -> bool:
            heard.update((event[1], event[2] if event[1] == "ended" else -1) for event in client.take())
            return (kind, stream) in heard

        await until(arrived)

    async with QuicCollector(certificates) as collector:
        connection = connect(client, certificates, collector.address.port)
        await hears("established")
        for number in range(3):
            connection.write(number, encoder.frame(None, sequence=number + 1, epoch=0), finish=True)
            await hears("ended", number)
        connection.write(0, encoder.frame(None, sequence=99, epoch=0))
        connection.write(3, encoder.frame(None, sequence=4, epoch=0), finish=True)
        await hears("ended", 3)
        assert [message.sequence for message in collector.books.seen] == [1, 2, 3, 4]
        assert connection.queued_bytes == 0
        connection.close(0)
        assert await asyncio.to_thread(client.departed, 10.0)


def test_more_than_the_bound_is_not_queued(certificates: Path) -> None:
    client = QuicClient()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        connection = connect(client, certificates, silent.getsockname()[1])
        with pytest.raises(CoreError, match="at most 67108864"):
            connection.write(0, bytes(QUEUED_BYTES_MAX + 1))
        assert connection.queued_bytes == 0
        connection.close(0)
        assert client.departed(10.0)


def test_that_nobody_listens_wakes_and_is_told_with_the_systems_words(certificates: Path, nobody: int) -> None:
    client = QuicClient()
    connection = connect(client, certificates, nobody)
    assert select.select([client.fileno()], [], [], 10.0)[0]
    [event] = client.take()
    assert event[:3] == (connection.number, "closed", "network")
    assert "refused" in str(event[4:])
    assert select.select([client.fileno()], [], [], 0)[0] == []
    # Its close is for nobody, and nothing waits for it to be sent.
    connection.close(0)
    assert client.departed(0)


def test_a_handshake_that_met_nobody_does_not_go_on_when_somebody_listens(certificates: Path, nobody: int) -> None:
    client = QuicClient()
    connection = connect(client, certificates, nobody)
    assert select.select([client.fileno()], [], [], 10.0)[0]
    assert client.take()[0][:3] == (connection.number, "closed", "network")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind(("127.0.0.1", nobody))
        heard_secs: list[float] = []
        begun = time.monotonic()
        # Told at the second attempt, one second after the first; the third would come two seconds later.
        while (left := begun + 2.5 - time.monotonic()) > 0 and select.select([somebody], [], [], left)[0]:
            somebody.recv(2_000)
            heard_secs.append(time.monotonic() - begun)
    assert [secs for secs in heard_secs if secs > 0.5] == [], "what leaves at once is its close"


def test_a_process_that_was_forked_has_connections_of_its_own(certificates: Path, nobody: int) -> None:
    def served() -> bool:
        client = QuicClient()
        connect(client, certificates, nobody).close(0)
        return client.departed(5.0)

    assert served()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if served() else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert served()


def test_an_event_loop_that_is_over_is_not_kept(certificates: Path, nobody: int) -> None:
    settings = TransportSettings(
        endpoints=(Address("127.0.0.1", nobody),),
        cert_path=certificates / "node-1.pem",
        key_path=certificates / "node-1.key",
        ca_path=certificates / "ca.pem",
        transport="quinn",
    )

    async def meet_nobody() -> weakref.ref[asyncio.AbstractEventLoop]:
        failed = asyncio.Event()
        sender = Sender(settings, on_event=lambda event: failed.set() if isinstance(event, ConnectFailed) else None)
        await sender.start()
        async with asyncio.timeout(10.0):
            await failed.wait()
        await sender.stop()
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(meet_nobody())
    gc.collect()
    assert loop() is None


def test_a_key_of_another_certificate_is_named(certificates: Path) -> None:
    with pytest.raises(CertificateError, match=r"node-2\.key"):
        credentials(certificates / "node-1.pem", certificates / "node-2.key", certificates / "ca.pem")
