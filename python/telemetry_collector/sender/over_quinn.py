"""A connection over quinn: QUIC runs on a thread of the core, and one wake-up tells of all connections."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from telemetry_collector import _core
from telemetry_collector.errors import CertificateError
from telemetry_collector.sender import wire
from telemetry_collector.sender.connection import Connection
from telemetry_collector.sender.settings import TransportSettings

DEPARTURE_SECS = 0.1
"""How long the last connection's end waits for the core to have sent the close; a moment, mostly."""


class Quinn:
    """Begins connections to one collector, with the certificates as they are now."""

    def __init__(self, settings: TransportSettings, server_name: str) -> None:
        """Raises CertificateError that names the file."""
        self._settings = settings
        self._server_name = server_name
        self._credentials = credentials(settings.cert_path, settings.key_path, settings.ca_path)

    async def start(self, connection: Connection, _family: socket.AddressFamily, address: tuple[str, int]) -> None:
        """Begins a handshake. OSError when there is no way to the address."""
        hub = _hub_of(asyncio.get_running_loop())
        quic = hub.client.connect(
            address[0],
            address[1],
            server_name=self._server_name,
            credentials=self._credentials,
            datagram_bytes_max=self._settings.max_datagram_size,
            unreachable_secs=self._settings.unreachable_secs,
        )
        connection.start(_Transport(quic, hub))
        hub.add(quic.number, connection)


def credentials(cert_path: Path, key_path: Path, ca_path: Path) -> _core.QuicCredentials:
    """Reads certificates and key. Raises CertificateError that names the file."""
    try:
        authorities = x509.load_pem_x509_certificates(ca_path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(f"cannot read the certificate authority {ca_path}: {error}") from error
    try:
        chain = x509.load_pem_x509_certificates(cert_path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), password=None)
        return _core.QuicCredentials(
            chain=[each.public_bytes(Encoding.DER) for each in chain],
            key=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            authorities=[each.public_bytes(Encoding.DER) for each in authorities],
        )
    except (OSError, ValueError, TypeError) as error:
        raise CertificateError(f"cannot use the certificate {cert_path} with the key {key_path}: {error}") from error


class _Hub:
    """Hands out the events of one event loop's connections; watches the core while there are any.

    It does not keep the loop, which goes with its hub: only the running loop adds and removes.
    """

    def __init__(self) -> None:
        self.client = _core.QuicClient()
        self._connections: dict[int, Connection] = {}

    def add(self, number: int, connection: Connection) -> None:
        if not self._connections:
            asyncio.get_running_loop().add_reader(self.client.fileno(), self._woken)
        self._connections[number] = connection

    def remove(self, number: int) -> None:
        if self._connections.pop(number, None) is not None and not self._connections:
            asyncio.get_running_loop().remove_reader(self.client.fileno())
            # The process may end now, and the collector is to hear of it.
            self.client.departed(DEPARTURE_SECS)

    def _woken(self) -> None:
        touched: dict[int, Connection] = {}
        for event in self.client.take():
            number = event[0]
            connection = self._connections.get(number)
            if connection is None or connection.lost.done():
                continue
            touched[number] = connection
            match event:
                case (_, "received", stream, data):
                    connection.received(stream, data)
                case (_, "ended", stream):
                    connection.ended(stream)
                case (_, "stopped", stream, code):
                    connection.stopped(stream, code)
                case (_, "established", chain):
                    connection.handshaken(lambda chain=chain: _certificates(chain))  # type: ignore[misc]
                case (_, "closed", origin, code, reason):
                    connection.lose(_words(origin, code, reason))
        for connection in touched.values():
            connection.pump_now()


# A loop that is gone takes its connections' watch with it.
_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, _Hub] = WeakKeyDictionary()


def _hub_of(loop: asyncio.AbstractEventLoop) -> _Hub:
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = _Hub()
    return hub


class _Transport:
    """The `Transport` of one connection."""

    def __init__(self, quic: _core.QuicConnection, hub: _Hub) -> None:
        self._quic = quic
        self._hub = hub

    def put(self, stream: int, data: bytes, *, finish: bool) -> None:
        self._quic.write(stream, data, finish=finish)

    def flush(self) -> None:
        """The core sends by itself."""

    def close(self, code: int, reason: str) -> None:
        self._quic.close(code, reason)

    def release(self) -> None:
        self._hub.remove(self._quic.number)


def _certificates(chain: Sequence[bytes]) -> tuple[x509.Certificate, Sequence[x509.Certificate]]:
    certificate, *intermediates = (x509.load_der_x509_certificate(each) for each in chain)
    return certificate, intermediates


def _words(origin: str, code: int, reason: str) -> str:
    match origin:
        case "application":
            return wire.close_words(code, reason)
        case "transport":
            return wire.transport_words(code, reason)
        case "reset":
            return wire.RESET_WORDS
        case _:
            return reason
