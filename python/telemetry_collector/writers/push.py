"""Posts blocks to a destination as the requests of some protocol: what OTLP's and remote write's writers share.

Delivery is at least once and in order: one request at a time, each made again until it is answered, so while the
destination is down `write` waits and the journal keeps the data. What an answer means is decided by its status as for
InfluxDB (`writers.answer`), but that every 2xx accepts.

Where a destination refuses a request for one of its points, it is cut smaller, twice, to lose few others: into requests
of 4 KiB, and those that are refused into ones of a single series. What had been accepted of them is sent again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final, Protocol

import aiohttp
from pydantic import Field

from telemetry_collector.component import Blocks, Requests, WriterContext
from telemetry_collector.config import Seconds, Secret, Section, Text, WebAddress, WriterSection
from telemetry_collector.config.files import CertificateFile
from telemetry_collector.errors import ConfigError, Mistake
from telemetry_collector.writers.answer import Answer, Verdict
from telemetry_collector.writers.body_size import BODY_BYTES_MIN, BodySize
from telemetry_collector.writers.delivery import Delivery, Gzip, compresses

SUSPECTED_MAX: Final = 16
"""Refused requests that are searched for the points at fault at a time: where most are bad, more would only multiply
the destination's work."""
_ANSWER_BYTES_MAX: Final = 64 * 1024

Places = list[tuple[int, int]]
"""Ranges of the points of some blocks, in the order in which their requests have them: first, and behind the last."""


def common(places: Places, start: int, end: int) -> Places:
    """What of these lies in a range."""
    cut = ((max(first, start), min(last, end)) for first, last in places)
    return [(first, last) for first, last in cut if first < last]


class PushConfig(WriterSection):
    """The keys of every writer that posts."""

    url: WebAddress = Field(description="where requests are posted, with their path")
    headers: dict[Text, Secret] = Field({}, description="headers of each request, such as Authorization; never logged")
    tls_ca_path: CertificateFile | None = Field(
        None, description="the authorities that an https server's certificate must come from, or null for the system's"
    )
    batch_bytes: int = Field(
        1024 * 1024, ge=BODY_BYTES_MIN, le=64 * 1024 * 1024, description="bytes of one request before compression"
    )
    flush_interval_secs: Seconds = Field(1, description="within how many seconds what was received is sent")
    timeout_secs: Seconds = Field(10, description="how long one request may take")


class GzipPushConfig(PushConfig):
    """With a choice of compression."""

    gzip: Gzip = Field("auto", description="auto, on or off; auto compresses what leaves the machine")

    @property
    def compresses(self) -> bool:
        """Whether bodies are compressed."""
        return compresses(self.gzip, self.url)


class PushProtocol(Protocol):
    """How blocks become requests, and what an answer that accepts says beside that."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of each request, besides the configured ones."""

    @property
    def searches(self) -> bool:
        """Whether a destination refuses a request for one of its points, so that the others are worth another try."""

    def requests(self, blocks: Blocks, bytes_max: int) -> Requests:
        """In a thread. The same blocks' points stand in the same order whatever the bytes, and with 1 each request has
        those of one series."""

    def refused(self, body: bytes) -> tuple[int, str]:
        """Points of an accepted request that were refused for good, and why, as the answer's body says it."""


class PushWriter:
    """See the module. Keeps nothing but the requests of the blocks that it was handed."""

    Config: ClassVar[type[Section]] = PushConfig

    batch_points: Final = 5_000

    def __init__(self, config: PushConfig, context: WriterContext, protocol: PushProtocol, *, gzip: bool) -> None:
        """`gzip` compresses bodies that the protocol has not compressed itself."""
        self._config = config
        self._name = context.name
        self._events = context.events
        self._protocol = protocol
        self._gzip = gzip
        self._session: aiohttp.ClientSession | None = None
        self._delivery = Delivery(context, compress=gzip)
        self._body_size = BodySize(config.batch_bytes)
        self._position = 0

    @property
    def flush_interval_secs(self) -> float:
        """See `Writer`."""
        return self._config.flush_interval_secs

    async def start(self, stored: int) -> int:
        """Makes the client; connects with the first request. Returns `stored`: no destination tells what it has."""
        await self.stop()
        config = self._config
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        headers |= self._protocol.headers
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=self._tls()),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=config.timeout_secs),
        )
        self._body_size = BodySize(config.batch_bytes)
        self._position = stored
        return stored

    def _tls(self) -> ssl.SSLContext | bool:
        path: Path | None = self._config.tls_ca_path
        if path is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError) as error:
            mistake = Mistake(f"{self._name}.tls_ca_path", f"cannot be used: {error}", value=str(path))
            raise ConfigError([mistake]) from error

    async def write(self, blocks: Blocks) -> None:
        """Sends the blocks' points. Waits as long as the destination does not answer."""
        await self._delivery.run(self._deliver(blocks))
        self._position = blocks.end

    async def flush(self) -> int:
        """Everything before the position returned was accepted, or refused and counted."""
        return self._position

    async def maintain(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Gives up what was not accepted yet; a `write` that still waits ends with a RetryableError."""
        session, self._session = self._session, None
        self._delivery.stop()
        if session is not None:
            await session.close()

    async def _deliver(self, blocks: Blocks) -> None:
        """Brings every point to an answer. Where requests are cut again, what is settled is not counted again."""
        due: Places = [(0, blocks.points)]
        bytes_max = self._body_size.bytes
        rewritten = 0
        while due:
            requests = await asyncio.to_thread(self._protocol.requests, blocks, bytes_max)
            if not rewritten and requests.rewritten:
                rewritten = requests.rewritten
                self._events.rewritten(rewritten)
            due, bytes_max = await self._send(requests, due, bytes_max)

    async def _send(self, requests: Requests, due: Places, bytes_max: int) -> tuple[Places, int]:
        """Sends the requests that have points which are due: which still are, and how large their requests may be."""
        suspected: Places = []
        end = 0
        for body, points in zip(requests.bodies, requests.points, strict=True):
            start, end = end, end + points
            unsettled = common(due, start, end)
            count = sum(last - first for first, last in unsettled)
            if points and not count:
                continue
            answer = await self._delivery.answer(body, self._post)
            if answer.verdict is Verdict.ACCEPTED:
                # Some count the buckets of a histogram.
                refused = min(answer.points_refused, count)
                self._events.written(count - refused)
                self._body_size.accepted()
                if refused:
                    self._events.refused("partial_success", refused, answer.words)
            elif answer.verdict is Verdict.TOO_LARGE and not self._body_size.is_least:
                self._body_size.too_large()
                return suspected + common(due, start, due[-1][1]), self._body_size.bytes
            elif self._protocol.searches and points > 1 and bytes_max > 1 and len(suspected) < SUSPECTED_MAX:
                suspected += unsettled
            else:
                self._events.refused(answer.reason, count, answer.words)
        return suspected, BODY_BYTES_MIN if bytes_max > BODY_BYTES_MIN else 1

    async def _post(self, body: bytes) -> Answer:
        assert self._session is not None, "between start and stop"
        try:
            # A redirected POST arrives as a GET, whose 200 would pass for an acceptance.
            async with self._session.post(self._config.url, data=body, allow_redirects=False) as answer:
                words = await answer.content.read(_ANSWER_BYTES_MAX)
                status, headers = answer.status, answer.headers
        except TimeoutError:
            return Answer(Verdict.RETRY, "timeout", f"no answer within {self._config.timeout_secs} s")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(Verdict.RETRY, "connection", str(error) or type(error).__name__)
        if not 200 <= status < 300:
            return Answer.of_status(status, words, headers)
        refused, why = self._protocol.refused(words)
        return replace(Answer.of_status(204, b"", {}), words=why, points_refused=refused)
