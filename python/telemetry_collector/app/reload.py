"""Brings a changed configuration into force while the process runs: whole and right, or not at all.

    SIGHUP ───────────────┐
    a file changed, rests ┴► load (as `check` does) ─► what differs ─► apply what may change now, tell what waits

A document or file with a mistake changes nothing. The authorities and revocation lists that the configuration in force
names are read again all the same: a mistake elsewhere must not keep a revocation from acting.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar, final

from telemetry_collector.app.memory import unmap_unused_code
from telemetry_collector.app.watch import Stamps, changed, stamps
from telemetry_collector.clock import Clock
from telemetry_collector.config import Section, Tls
from telemetry_collector.config.changes import changes
from telemetry_collector.errors import CertificateError, ConfigError
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.reloads import ReloadEvents

log = logger(__name__)


class Configuration(Protocol):
    """A collector's or an agent's."""

    @property
    def security(self) -> Tls: ...
    @property
    def sections(self) -> Mapping[str, Section]: ...
    @property
    def origin(self) -> str | Path: ...


C = TypeVar("C", bound=Configuration)


class Service(Protocol[C]):
    """What runs by a configuration."""

    @property
    def config(self) -> C:
        """What is in force."""

    def load(self, *, check_files: bool) -> C:
        """What the document says now. ConfigError has all of its mistakes."""

    def is_live(self, key: str) -> bool:
        """Whether a change of this key takes effect while it runs."""

    async def apply(self, new: C, restart_needed: Collection[str]) -> None:
        """Brings a configuration into force but for the keys that need a restart, and reads its files again.

        CertificateError: nothing has changed. ConfigError: parts named by it go on as they were; the rest changed.
        """

    async def read_trust(self) -> None:
        """Reads the authorities and revocation lists of the configuration in force again. CertificateError names a file
        that cannot be used; where it is none of these, they act all the same."""


@final
class Reloader(Generic[C]):
    """Reloads one service, once at a time."""

    def __init__(self, service: Service[C], events: ReloadEvents, clock: Clock) -> None:
        self._service = service
        self._events = events
        self._clock = clock
        self._lock = asyncio.Lock()
        self._reloading: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._seen = stamps(_paths(service.config))
        self._contents = _contents(service.config)

    async def watch(self) -> None:
        """Reloads whenever the document or a file that it names has changed, for ever."""
        while True:
            await changed(self._seen, self._clock)
            # Unless somebody was quicker, and has taken it already.
            if await asyncio.to_thread(stamps, self._seen) != self._seen:
                await self.reload()

    async def reload(self) -> None:
        """Reads everything again now. Once begun it goes on to its end, also when the caller is cancelled."""
        reloading = asyncio.create_task(self._reload_in_turn(), name="reload")
        self._reloading.add(reloading)
        reloading.add_done_callback(self._reloading.discard)
        await asyncio.shield(reloading)

    async def stop(self, timeout_secs: float) -> None:
        """Begins no more, and waits for the one under way; after the time it is cut short. Idempotent."""
        self._stopping = True
        if self._reloading:
            _, late = await asyncio.wait(self._reloading, timeout=timeout_secs)
            for reloading in late:
                reloading.cancel()

    async def _reload_in_turn(self) -> None:
        async with self._lock:
            if not self._stopping:
                await self._reload()
                # It has read what only the start had needed.
                await asyncio.to_thread(unmap_unused_code)

    async def _reload(self) -> None:
        service, old = self._service, self._service.config
        try:
            self._seen = await asyncio.to_thread(self._look)
            try:
                new = await asyncio.to_thread(service.load, check_files=True)
            except ConfigError as error:
                self._events.failed(error)
                await self._read_trust_again()
                return
            contents = await asyncio.to_thread(_contents, new)
            differing = changes(old.sections, new.sections)
            restart_needed = [key for key in differing if not service.is_live(key)]
            await service.apply(new, restart_needed)
        except (ConfigError, CertificateError) as error:
            self._events.failed(error)
            return
        except Exception as error:
            # A defect, in a third party's writer perhaps: the next reload must find somebody who listens.
            log.exception("reload_defect")
            self._events.failed(error)
            return
        live = {key: None for key in differing if key not in restart_needed}
        live |= {key: None for key, content in contents.items() if content != self._contents.get(key)}
        self._contents = contents
        self._events.succeeded(list(live), restart_needed)

    async def _read_trust_again(self) -> None:
        try:
            await self._service.read_trust()
        except CertificateError as error:
            log.error("trust_not_read_again", error=str(error), effect="what was read of it before stays in force")

    def _look(self) -> Stamps:
        """The files to watch from now on, as they are before they are read: what changes later is noticed.

        Those that a document with mistakes names are among them: it may be that they come into being later.
        """
        before = stamps(_document(self._service.config))
        try:
            named = _paths(self._service.load(check_files=False))
        except ConfigError:
            named = []
        return {**stamps([*named, *_paths(self._service.config)]), **before}


def _document(config: Configuration) -> list[Path]:
    return [config.origin] if isinstance(config.origin, Path) else []


def _paths(config: Configuration) -> Sequence[Path]:
    return [*_document(config), *config.security.files.values()]


def _contents(config: Configuration) -> dict[str, bytes]:
    """What tells by key whether a file's contents are others. A file that is not there has none."""
    found = {}
    for key, path in config.security.files.items():
        try:
            found[f"security.{key}"] = hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            continue
    return found
