"""Reads targets that show their metrics, as Prometheus' text or OpenMetrics, and send none.

Each target has a turn every interval, at a moment of its own within it, so that a thousand targets are not read at
once. What is read goes through the same door as requests that come; a target that cannot be read, or for which there is
no room, is read again at its next turn. Of each turn `up` and `scrape_duration_seconds` are stored, too.
"""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import Mapping, Sequence
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
TEXT = "text/plain"
"""Prometheus' text format; what says nothing of itself is taken for it."""
OPENMETRICS = "application/openmetrics-text"
"""It looks alike, and means other things by the same words."""
ACCEPT = f"{OPENMETRICS};version=1.0.0,{OPENMETRICS};version=0.0.1;q=0.75,{TEXT};version=0.0.4;q=0.5,*/*;q=0.1"
"""As Prometheus asks."""
_NOTHING_READ = ("malformed", "too_large")
"""Of a page with such an outcome nothing is stored, so its target is down."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class _Target:
    job: str
    url: str
    interval_secs: float
    timeout_secs: float
    forms: Mapping[str, _core.RequestForm]
    """By what a page says that it is."""
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
        page, up, content_type = b"", 1, TEXT
        with self._door.hold(target.url) as hold:
            try:
                content_type, page = await self._page(target, hold)
            except NoRoomForBody:
                self._door.busy(RECEIVER)
                return
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                up = 0
                problem = str(error) or type(error).__name__
                self._door.events.unreachable(target.job, target.url, problem)
            duration_secs = time.perf_counter() - began
            if not hold.begin():
                self._door.busy(RECEIVER)
                return
            try:
                page = _with(page, content_type, _told(up, duration_secs))
                taken = await self._door.take(RECEIVER, target.forms[content_type], page, "", target.peer)
                if taken.outcome in _NOTHING_READ:
                    self._door.events.unreachable(target.job, target.url, taken.problem)
                    down = _told(0, duration_secs)
                    await self._door.take(RECEIVER, target.forms[TEXT], down, "", target.peer)
            except Exception as error:  # noqa: BLE001  # it is counted and logged
                # A defect with one page must not end the reading of its target.
                self._door.events.failed(RECEIVER, error)

    async def _page(self, target: _Target, hold: Hold) -> tuple[str, bytes]:
        """What a page says that it is, and the page."""
        assert self._session is not None, "between start and stop"
        bytes_max = self._door.request_bytes_max
        async with asyncio.timeout(target.timeout_secs), self._session.get(target.url) as answer:
            if answer.status != 200:
                raise ValueError(f"answered {answer.status}")
            content_type = answer.content_type if "Content-Type" in answer.headers else TEXT
            if content_type not in target.forms:
                raise ValueError(f"answered {content_type}; expected {TEXT} or {OPENMETRICS}, as of metrics")
            page = bytearray()
            async for chunk in answer.content.iter_chunked(65_536):
                page += chunk
                if len(page) > bytes_max:
                    raise ValueError(f"a page of more than {bytes_max} bytes (limits.inflated_bytes_max)")
                if not hold.grow(len(chunk)):
                    raise NoRoomForBody
            return content_type, bytes(page)


def _told(up: int, duration_secs: float) -> bytes:
    """What is stored of a turn itself, as lines of a page."""
    return f"up {up}\nscrape_duration_seconds {duration_secs:.6f}\n".encode()


def _with(page: bytes, content_type: str, told: bytes) -> bytes:
    """A page with lines behind its own; one of OpenMetrics has a last line, which stays it."""
    if content_type == TEXT:
        return page + b"\n" + told
    lines, end, rest = page.rpartition(b"\n# EOF")
    # What has no such line is empty, or cut short, and is refused with or without ours.
    return lines + b"\n" + told + end[1:] + rest


def _target(job: ScrapeJob, url: str) -> _Target:
    parts = urlsplit(url)
    instance = parts.netloc
    host = parts.hostname or ""
    labels = {"job": job.name, "instance": instance, **job.labels}
    node = labels.get("node_id") or (socket.gethostname() if host in _LOOPBACK else host)
    labels.pop("node_id", None)
    tags = list(labels.items())
    return _Target(
        job=job.name,
        url=url,
        interval_secs=job.interval_secs,
        timeout_secs=job.timeout_secs,
        forms={
            kind: _core.RequestForm.exposition(tags, openmetrics=kind == OPENMETRICS) for kind in (TEXT, OPENMETRICS)
        },
        # Pages may tell of other nodes, as those of a federating Prometheus do.
        peer=Peer(identity=RECEIVER, node=node, relay=True),
    )
