"""The core's QUIC client by itself: its bounds, and what it tells of a collector that is not there."""

import select
import socket
from pathlib import Path

import pytest

from telemetry_collector._core import CoreError, QuicClient, QuicConnection
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender.over_quinn import credentials

QUEUED_BYTES_MAX = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_node("node-1")
    authority.issue_node("node-2")
    return directory


def connect(client: QuicClient, certificates: Path, port: int) -> QuicConnection:
    node = credentials(certificates / "node-1.pem", certificates / "node-1.key", certificates / "ca.pem")
    return client.connect("127.0.0.1", port, server_name="localhost", credentials=node)


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


def test_that_nobody_listens_wakes_and_is_told_with_the_systems_words(certificates: Path) -> None:
    client = QuicClient()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    connection = connect(client, certificates, port)
    assert select.select([client.fileno()], [], [], 10.0)[0]
    [event] = client.take()
    assert event[:3] == (connection.number, "closed", "network")
    assert "refused" in str(event[4:])
    assert select.select([client.fileno()], [], [], 0)[0] == []


def test_a_key_of_another_certificate_is_named(certificates: Path) -> None:
    with pytest.raises(CertificateError, match=r"node-2\.key"):
        credentials(certificates / "node-1.pem", certificates / "node-2.key", certificates / "ca.pem")
