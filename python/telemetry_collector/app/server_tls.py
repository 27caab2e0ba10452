"""The collector's certificate, as servers over TCP show it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from telemetry_collector.config import Security
from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.requests import server_context

if TYPE_CHECKING:
    from telemetry_collector.listeners.requests.grpc import ServerFiles

T = TypeVar("T")


class ServerTls:
    """What a few servers need for TLS, read again for all of them when the files have changed.

    Every method raises a CertificateError for a file that cannot be used.
    """

    def __init__(self, files: Security) -> None:
        self._files = files
        self._read: list[Callable[[], None]] = []

    def context(self, security: Literal["mutual", "server"]) -> ssl.SSLContext:
        """For a server over HTTP."""
        files = self._files
        context = self._usable(
            lambda: server_context(security, files.tls_cert_path, files.tls_key_path, files.tls_ca_path)
        )

        def read_again() -> None:
            context.load_cert_chain(files.tls_cert_path, files.tls_key_path)
            if security == "mutual":
                # Added to those known; one that is gone from the file is refused by `Trust`.
                context.load_verify_locations(files.tls_ca_path)

        self._read.append(read_again)
        return context

    def grpc_files(self, security: Literal["mutual", "server"]) -> ServerFiles:
        """For a server over gRPC."""
        from telemetry_collector.listeners.requests.grpc import ServerFiles

        paths = self._files
        files = self._usable(lambda: ServerFiles(security, paths.tls_cert_path, paths.tls_key_path, paths.tls_ca_path))
        self._read.append(files.read)
        return files

    def read_again(self) -> None:
        """New connections are shown what the files say now; after an error, what they said before."""
        for read in self._read:
            self._usable(read)

    def _usable(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:  # ssl's errors are among them
            path = self._files.tls_cert_path
            raise CertificateError(f"cannot use {path} and the files beside it for TLS: {error}") from error
