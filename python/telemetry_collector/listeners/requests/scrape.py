"""Reads targets that show their metrics as Prometheus' text and send none.

Each target has a turn every interval, at a moment of its own within it, so that a thousand targets are not read at
once. What is read goes through the same door as requests that come; a target that cannot be read, or for which there is
no room, is read again at its next turn. Of each turn `up` and `scrape_duration_seconds` are stored, too.
"""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from telemetry_collector import _core
from telemetry_collector.config.scrape import ScrapeJob
from telemetry_collector.listeners.requests.body import NoRoomForBody
from telemetry_collector.listeners.requests.door import Door
from telemetry_collector.listeners.requests.peers import Peer
from telemetry_collector.listeners.requests.room import Hold
from telemetry_collector.observe.logs import logger

log = logger(__name__)

RECEIVER = "scrape"
CONNECTIONS_MAX = 256
"""Targets that are read at a time."""
ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
CONTENT_TYPE = "text/plain"
"""What pages are, if they say what they are. OpenMetrics looks alike, and means other things by the same words."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class _Target:
    job: str
    url: str
    interval_secs: float
    timeout_secs: float
    form: _core.RequestForm
    peer: Peer

    def first_turn_in(self, now: float) -> float:
        """Seconds until its moment in the interval, which its address alone decides."""
        share = zlib.crc32(f"{self.job} {self.url}".encode()) / 2**32
        return (share - now / self.interval_secs) % 1 * self.interval_secs


class Scraper:
    """All jobs of a collector."""

    def __init__(self, jobs: Sequence[ScrapeJob], door: Door) -> None:
        self._door = door
        self._targets = [_target(job, url) for job in jobs for url in job.targets]
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Begins to read."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX), headers={"Accept": ACCEPT}, auto_decompress=True
        )
        for target in self._targets:
            self._tasks.append(asyncio.create_task(self._read_on(target), name=f"scrape {target.url}"))
        if self._targets:
            log.info("scraping", targets=len(self._targets))

    async def stop(self) -> None:
        """Ends what is under way. Idempotent, and safe before `start`."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read_on(self, target: _Target) -> None:
        await asyncio.sleep(target.first_turn_in(time.time()))
        turn = asyncio.get_running_loop().time()
        while True:
            await self.read(target)
            turn += target.interval_secs
            now = asyncio.get_running_loop().time()
            # Turns that were missed are not made up for.
            turn = max(turn, now - (now - turn) % target.interval_secs)
            await asyncio.sleep(max(turn - now, 0.0))

    async def read(self, target: _Target) -> None:
        """One turn of a target."""
        began = time.perf_counter()
        page, up = b"", 1
        with self._door.hold(target.url) as hold:
            try:
                page = await self._page(target, hold)
            except NoRoomForBody:
                self._door.busy(RECEIVER)
                return
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                up = 0
                problem = str(error) or type(error).__name__
                self._door.events.unreachable(target.job, target.url, problem)
            told = f"\nup {up}\nscrape_duration_seconds {time.perf_counter() - began:.6f}\n".encode()
            if not hold.begin():
                self._door.busy(RECEIVER)
                return
            try:
                await self._door.take(RECEIVER, target.form, page + told, "", target.peer)
            except Exception as error:  # noqa: BLE001  # it is counted and logged
                # A defect with one page must not end the reading of its target.
                self._door.events.failed(RECEIVER, error)

    async def _page(self, target: _Target, hold: Hold) -> bytes:
        assert self._session is not None, "between start and stop"
        bytes_max = self._door.request_bytes_max
        async with asyncio.timeout(target.timeout_secs), self._session.get(target.url) as answer:
            if answer.status != 200:
                raise ValueError(f"answered {answer.status}")
            if answer.content_type != CONTENT_TYPE and "Content-Type" in answer.headers:
                raise ValueError(f"answered {answer.content_type}; expected {CONTENT_TYPE}, Prometheus' text")
            page = bytearray()
            async for chunk in answer.content.iter_chunked(65_536):
                page += chunk
                if len(page) > bytes_max:
                    raise ValueError(f"a page of more than {bytes_max} bytes (limits.inflated_bytes_max)")
                if not hold.grow(len(chunk)):
                    raise NoRoomForBody
            return bytes(page)


def _target(job: ScrapeJob, url: str) -> _Target:
    parts = urlsplit(url)
    instance = parts.netloc
    host = parts.hostname or ""
    labels = {"job": job.name, "instance": instance, **job.labels}
    node = labels.get("node_id") or (socket.gethostname() if host in _LOOPBACK else host)
    labels.pop("node_id", None)
    return _Target(
        job=job.name,
        url=url,
        interval_secs=job.interval_secs,
        timeout_secs=job.timeout_secs,
        form=_core.RequestForm.exposition(list(labels.items())),
        # Pages may tell of other nodes, as those of a federating Prometheus do.
        peer=Peer(identity=RECEIVER, node=node, relay=True),
    )
