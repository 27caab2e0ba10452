"""The certificate of receivers when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from telemetry_collector.app.server_tls import ServerTls
from telemetry_collector.config import Security
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import Files, set_up


async def shown(tls: ssl.SSLContext) -> str:
    """The certificate that a new connection is shown."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        return await asyncio.to_thread(ssl.get_server_certificate, server.sockets[0].getsockname())


@pytest.mark.parametrize("replaced", ["server_certificate", "server_key"])
async def test_files_that_do_not_belong_together_change_nothing(tmp_path: Path, replaced: str) -> None:
    """As when a renewal is seen between its two files."""
    files: Files = await asyncio.to_thread(set_up, tmp_path / "certs", node="node-1")
    others: Files = await asyncio.to_thread(set_up, tmp_path / "others", node="node-1")
    server = ServerTls(
        Security(tls_cert_path=files.server_certificate, tls_key_path=files.server_key, tls_ca_path=files.ca)
    )
    tls = server.context("server")
    before = await shown(tls)
    getattr(files, replaced).write_bytes(getattr(others, replaced).read_bytes())
    with pytest.raises(CertificateError, match="mismatch"):
        server.read_again()
    assert await shown(tls) == before
    for name in ("server_certificate", "server_key"):
        getattr(files, name).write_bytes(getattr(others, name).read_bytes())
    server.read_again()
    assert await shown(tls) != before
