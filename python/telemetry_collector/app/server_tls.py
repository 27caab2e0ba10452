"""The collector's certificate, as servers over TCP show it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
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

    @property
    def _paths(self) -> tuple[Path, Path, Path]:
        files = self._files
        return files.tls_cert_path, files.tls_key_path, files.tls_ca_path

    def context(self, security: Literal["mutual", "server"]) -> ssl.SSLContext:
        """For a server over HTTP."""
        files = self._files
        context = self._usable(lambda: server_context(security, *self._paths))

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

        files = self._usable(lambda: ServerFiles(security, *self._paths))
        self._read.append(files.read)
        return files

    def read_again(self) -> None:
        """New connections are shown what the files say now; after an error, what they said before."""
        if self._read:
            # First in a context that nobody is served with: one that refuses a key has lost the certificate before.
            self._usable(lambda: server_context("mutual", *self._paths))
        for read in self._read:
            self._usable(read)

    def _usable(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:  # ssl's errors are among them
            path = self._files.tls_cert_path
            raise CertificateError(f"cannot use {path} and the files beside it for TLS: {error}") from error
