"""Whom the collector lets in, read from files that change while it runs: authorities and revocation lists."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import final

from telemetry_collector.config import Security
from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.quic_aioquic import QuicListener
from telemetry_collector.observe.logs import logger
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.description import unfit_for_server
from telemetry_collector.security.verifier import ClientVerifier

log = logger(__name__)

WATCH_SECS = 1.0
"""How often the files are looked at. A revocation acts on open connections within this and the checking of them all."""

Stamp = tuple[tuple[int, int, int] | None, ...]


@final
class TrustFiles:
    """The files behind a configuration's `security` section."""

    def __init__(self, security: Security) -> None:
        self._security = security
        self._allowlist = AllowList(security.allowed_identities, security.relays)
        self._stamp = self._read_stamp()

    def load(self) -> tuple[ClientVerifier, AllowList]:
        """What the files say now. CertificateError names the file that cannot be used."""
        verifier = ClientVerifier.read(self._security.tls_ca_path, self._security.tls_crl_path)
        for authority in verifier.uncovered:
            log.warning("authority_without_revocation_list", authority=authority, effect="its certificates are refused")
        return verifier, self._allowlist

    def check_own(self, now: datetime) -> None:
        """Tells when agents will not accept the certificate that they are shown. It may be that theirs is the clock
        that is right, so nothing is refused for it."""
        problem = unfit_for_server(self._security.tls_cert_path, now)
        if problem is not None:
            path = str(self._security.tls_cert_path)
            log.error("own_certificate_unfit", tls_cert_path=path, problem=problem, effect="no agent will connect")

    async def watch(self, listener: QuicListener) -> None:
        """Gives the listener what changed, for ever. Files that cannot be used change nothing, loudly."""
        while True:
            await asyncio.sleep(WATCH_SECS)
            stamp = await asyncio.to_thread(self._read_stamp)
            if stamp != self._stamp:
                self._stamp = stamp
                await self.reload(listener)

    async def reload(self, listener: QuicListener) -> None:
        """Reads the files again and has every open connection judged anew."""
        try:
            verifier, allowlist = await asyncio.to_thread(self.load)
        except CertificateError as error:
            log.error("trust_not_reloaded", error=str(error), effect="what was read before stays in force")
            return
        await listener.update_trust(verifier, allowlist)
        log.info("trust_reloaded", connections=listener.connections)

    def _read_stamp(self) -> Stamp:
        return tuple(_stamp(path) for path in (self._security.tls_ca_path, self._security.tls_crl_path) if path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What differs when a file was written or replaced; None while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
