"""Posts blocks to a destination as the requests of some protocol: what OTLP's and remote write's writers share.

Delivery is at least once and in order: one request at a time, each made again until it is answered, so while the
destination is down `write` waits and the journal keeps the data. What an answer means is decided by its status as for
InfluxDB (`writers.answer`), but that every 2xx accepts.
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

_ANSWER_BYTES_MAX: Final = 64 * 1024


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

    def requests(self, blocks: Blocks, bytes_max: int) -> Requests:
        """In a thread."""

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
        requests = await asyncio.to_thread(self._protocol.requests, blocks, self._body_size.bytes)
        if requests.rewritten:
            self._events.rewritten(requests.rewritten)
        for body, points in zip(requests.bodies, requests.points, strict=True):
            answer = await self._delivery.answer(body, self._post)
            # Some count the buckets of a histogram.
            refused = min(answer.points_refused, points)
            if answer.verdict is Verdict.ACCEPTED:
                self._events.written(points - refused)
                self._body_size.accepted()
                if refused:
                    self._events.refused("partial_success", refused, answer.words)
            elif answer.verdict is Verdict.TOO_LARGE and not self._body_size.is_least:
                # All of these blocks once more, in smaller requests: what was accepted of them is sent again.
                self._body_size.too_large()
                await self._deliver(blocks)
                return
            else:
                self._events.refused(answer.reason, points, answer.words)

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
