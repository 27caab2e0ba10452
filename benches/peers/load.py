"""A closed loop: a few connections, each of which sends its next batch when the last one is acknowledged."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import grpc

CONNECTIONS = 4
PATIENCE_SECS = 30.0
RETRY_SECS = 0.005
OTLP_EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
NOTHING_REFUSED = (b"", b"\x0a\x00")
"""An ExportMetricsServiceResponse without, and with an empty, partial_success."""

Send = Callable[[bytes], bool]
"""Sends a batch and waits for its answer; False when it is to come again."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was sent."""

    began: float
    """Seconds since 1970, as files have them."""
    ended: float
    """The same, of the last acknowledgement."""
    batches: int
    """Acknowledged."""
    retried: int
    latencies_ms: list[float]
    """From a batch's first sending to its acknowledgement, in order of size."""


def closed_loop(connect: Callable[[], Send], payloads: Sequence[bytes], seconds: float) -> Load:
    """Sends payloads in turn, from the first again after the last."""
    turn, lock = itertools.cycle(payloads), threading.Lock()
    began = time.time()

    def next_payload() -> bytes:
        with lock:
            return next(turn)

    def connection() -> tuple[list[float], int]:
        send, latencies, retried = connect(), [], 0
        while time.time() - began < seconds:
            payload, start = next_payload(), time.perf_counter()
            while not send(payload):
                retried += 1
                time.sleep(RETRY_SECS)
            latencies.append((time.perf_counter() - start) * 1_000)
        return latencies, retried

    with ThreadPoolExecutor(CONNECTIONS) as executor:
        each = [future.result() for future in [executor.submit(connection) for _ in range(CONNECTIONS)]]
    latencies = sorted(itertools.chain.from_iterable(latencies for latencies, _ in each))
    return Load(began, time.time(), len(latencies), sum(retried for _, retried in each), latencies)


def http_sender(port: int, path: str) -> Send:
    """A connection over HTTP; 429 and 503 ask for patience, anything else that is no success is an error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECS)

    def send(payload: bytes) -> bool:
        connection.request("POST", path, payload)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status in (429, 503):
            return False
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"status {answer.status}: {text[:500]!r}")
        return True

    return send


def grpc_sender(port: int) -> Send:
    """A connection over gRPC; an answer with something in it tells of points that were refused."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
    export = channel.unary_unary(OTLP_EXPORT)

    def send(payload: bytes) -> bool:
        try:
            answer = export(payload, timeout=PATIENCE_SECS)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                return False
            raise
        if answer not in NOTHING_REFUSED:
            raise RuntimeError(f"refused in part: {answer!r}")
        return True

    return send


def until_listening(port: int, seconds: float) -> None:
    """Waits until something accepts connections; TimeoutError after so long."""
    deadline = time.monotonic() + seconds
    for _ in _while_refused(port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port} after {seconds} s")
        time.sleep(0.05)


def _while_refused(port: int) -> Iterator[None]:
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
            try:
                connection.connect()
            except OSError:
                yield
            else:
                return
