"""Writes blocks to InfluxDB (or what takes its line protocol: VictoriaMetrics, QuestDB, …) over HTTP.

Delivery is at least once and in order: one request at a time, each made again until it is answered, so while the
destination is down `write` waits and the journal keeps the data. A point sent twice is the same point to a time-series
database. What happens to an answer is decided by `writers.answer` from its status alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, final
from urllib.parse import urlsplit

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from pydantic import AfterValidator, Field

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.component import Blocks, WriterContext
from telemetry_collector.config import PositiveInt, Seconds, Secret, Section, Text, Url, WriterSection
from telemetry_collector.writers.answer import Answer, Verdict
from telemetry_collector.writers.body_size import BODY_BYTES_MIN, BodySize
from telemetry_collector.writers.dead_letter import DeadLetter, DeadLetters
from telemetry_collector.writers.delivery import Delivery, Gzip, compresses

# How often one body's refused pieces are halved to find the lines at fault. One bad line among 16,000 takes 14; where
# most lines are bad, more would only multiply the destination's work.
_HALVINGS_MAX: Final = 24
# And once more for so many lines of the body that were accepted. One bad line in a hundred takes seven for a hundred,
# so each is found, however many lines a body has.
_LINES_A_HALVING: Final = 8
# Room for the largest body that can be refused, several times.
_DEAD_LETTER_BYTES_MIN: Final = 16 * 1024 * 1024 * 4


def _without_credentials(url: str) -> str:
    if "@" in urlsplit(url).netloc:
        raise ValueError("expected an address without a user or password, which would show in logs; use token")
    return url


class InfluxConfig(WriterSection):
    """The section `influxdb`."""

    url: Annotated[Url, AfterValidator(_without_credentials)] = Field(
        description="the server's address, such as http://localhost:8086"
    )
    org: Text = Field(description="the organization that the bucket belongs to")
    bucket: Text = Field(description="the bucket to write to")
    token: Secret = Field(description="a token that may write to the bucket, best as ${INFLUXDB_TOKEN}")
    gzip: Gzip = Field("auto", description="auto, on or off; auto compresses what leaves the machine")
    batch_bytes: int = Field(
        512 * 1024, ge=BODY_BYTES_MIN, le=16 * 1024 * 1024, description="bytes of one request before compression"
    )
    flush_interval_secs: Seconds = Field(1, description="within how many seconds what was received is sent")
    timeout_secs: Seconds = Field(10, description="how long one request may take")
    catch_up_points_per_sec: PositiveInt | None = Field(
        100_000, description="points a second that it is given when it is behind, or null for no bound"
    )
    dead_letter_dir: Path | None = Field(
        None, description="the directory that keeps what the server refuses for good, or null to keep none of it"
    )
    dead_letter_max_bytes: int = Field(
        256 * 1024 * 1024, ge=_DEAD_LETTER_BYTES_MIN, description="bytes of all files in dead_letter_dir"
    )


@final
class InfluxWriter:
    """See the module. Keeps at most `batch_bytes` of lines besides the blocks that it was handed."""

    Config: ClassVar[type[Section]] = InfluxConfig

    batch_points: Final = 5_000

    def __init__(self, config: InfluxConfig, context: WriterContext, clock: Clock | None = None) -> None:
        self._config = config
        self._events = context.events
        self._dead_letters: DeadLetters | None = None
        if config.dead_letter_dir is not None:
            self._dead_letters = DeadLetters(
                config.dead_letter_dir, config.dead_letter_max_bytes, context, clock or SystemClock()
            )
        self._compress = compresses(config.gzip, config.url)
        self._client: Any = None
        self._delivery = Delivery(context, compress=self._compress)
        self._body_size = BodySize(config.batch_bytes)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._position = 0

    @property
    def flush_interval_secs(self) -> float:
        """See `Writer`."""
        return self._config.flush_interval_secs

    async def start(self, stored: int) -> int:
        """Makes the client; connects with the first request. Returns `stored`: a database does not tell what it has.

        ConfigError when the directory for what is refused cannot be used.
        """
        await self.stop()
        if self._dead_letters is not None:
            await asyncio.to_thread(self._dead_letters.open)
        self._client = InfluxDBClientAsync(
            self._config.url,
            self._config.token.get_secret_value(),
            self._config.org,
            timeout=int(self._config.timeout_secs * 1000),
            connection_pool_maxsize=1,
            # A redirected POST arrives as a GET, whose 200 would pass for an acceptance.
            allow_redirects=False,
        )
        self._body_size = BodySize(self._config.batch_bytes)
        self._position = stored
        return stored

    async def write(self, blocks: Blocks) -> None:
        """Sends whole bodies and keeps the rest for `flush`. Waits as long as the destination does not answer."""
        lines = await asyncio.to_thread(blocks.line_protocol, self._body_size.bytes)
        if lines.rewritten:
            self._events.rewritten(lines.rewritten)
        for chunk in lines.chunks:
            if self._gathered and self._gathered_bytes + len(chunk) > self._body_size.bytes:
                await self._send_gathered()
            self._gathered.append(chunk if chunk.endswith(b"\n") else chunk + b"\n")
            self._gathered_bytes += len(chunk)
        self._position = blocks.end

    async def flush(self) -> int:
        """Sends what is left. Everything before the position returned was accepted, or refused and counted."""
        await self._send_gathered()
        return self._position

    async def maintain(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Gives up what was not accepted yet; a `write` or `flush` that still waits ends with a RetryableError."""
        client, self._client = self._client, None
        self._delivery.stop()
        if client is not None:
            await client.close()
        self._gathered.clear()
        self._gathered_bytes = 0

    async def _send_gathered(self) -> None:
        if not self._gathered:
            return
        body = b"".join(self._gathered)
        await self._delivery.run(self._deliver(body))
        self._gathered.clear()
        self._gathered_bytes = 0

    async def _deliver(self, body: bytes) -> None:
        """Brings every line to an answer. A refused body is halved, its halves sent, to lose no line but the bad."""
        pieces, halvings, accepted = [body], 0, 0
        refused: list[tuple[Answer, bytes]] = []
        while pieces:
            piece = pieces.pop()
            lines = piece.count(b"\n")
            answer = await self._delivery.answer(piece, self._post)
            if answer.verdict is Verdict.ACCEPTED:
                self._events.written(lines)
                self._body_size.accepted()
                accepted += lines
            elif lines > 1 and (
                answer.verdict is Verdict.TOO_LARGE or halvings < _HALVINGS_MAX + accepted // _LINES_A_HALVING
            ):
                if answer.verdict is Verdict.TOO_LARGE:
                    self._body_size.too_large(len(piece))
                else:
                    halvings += 1
                pieces.extend(reversed(_halves(piece)))
            else:
                refused.append((answer, piece))
        await self._bury(refused)

    async def _bury(self, refused: list[tuple[Answer, bytes]]) -> None:
        """Keeps what was refused, where that is wanted, and only then counts it: its cursor may pass it now."""
        if refused and self._dead_letters is not None:
            letters = [DeadLetter(answer.reason, answer.words, piece) for answer, piece in refused]
            await asyncio.to_thread(self._dead_letters.keep, letters)
        told: dict[str, tuple[int, str]] = {}
        for answer, piece in refused:
            count, words = told.get(answer.reason, (0, answer.words))
            told[answer.reason] = count + piece.count(b"\n"), words
        for reason, (count, words) in told.items():
            self._events.refused(reason, count, words)

    async def _post(self, body: bytes) -> Answer:
        headers = {"content_encoding": "gzip"} if self._compress else {}
        api = self._client.api_client
        service: Any = WriteService(api)  # type: ignore[no-untyped-call]  # the library says it is typed, and is not
        try:
            _, status, _ = await service.post_write_async(
                org=self._config.org,
                bucket=self._config.bucket,
                body=body,
                precision="ns",
                content_type="text/plain; charset=utf-8",
                _return_http_data_only=False,
                **headers,
            )
        except ApiException as error:
            return Answer.of_status(error.status, error.body or b"", error.headers or {})
        except TimeoutError:
            return Answer(Verdict.RETRY, "timeout", f"no answer within {self._config.timeout_secs} s")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(Verdict.RETRY, "connection", str(error) or type(error).__name__)
        return Answer.of_status(status, api.last_response.data, {})


def _halves(piece: bytes) -> tuple[bytes, bytes]:
    """Two pieces of whole lines; each has at least one when the piece has two. A newline never stands inside a line."""
    cut = piece.rfind(b"\n", 0, len(piece) // 2) + 1 or piece.index(b"\n") + 1
    return piece[:cut], piece[cut:]
