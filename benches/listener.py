"""What a batch costs the listener on aioquic, and nothing else: both ends in one process and in virtual time.

The processor time that counts is the listener's alone, from datagrams to the bytes that a consumer is given and from
its replies to datagrams. There is no socket and no core: system calls, decoding and the journal are measured by `load`.
"""

from __future__ import annotations

import gc
import heapq
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from prometheus_client import CollectorRegistry

from benches.figures import Figure
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import QuicListener, QuicListenerSettings, material
from telemetry_collector.listeners.quic_aioquic.datagrams import Path as DatagramPath
from telemetry_collector.model import ALPN
from telemetry_collector.observe import logs
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.authority import set_up
from telemetry_collector.security.verifier import ClientVerifier

FRAME_BYTES = 2_900
"""A batch of 1,000 points of the reference data set, columnar and compressed."""
REPLY_BYTES = 12
ROUNDS = 40
CONNECTIONS = 25
COMMIT_SECS = 0.0015
"""From a batch to its commit."""
READ_DATAGRAMS = 8
"""Datagrams that a wake-up brings of one connection, when it sends all the time."""


class _Loop:
    """Time that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._order = count()
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...], list[bool]]] = []
        self._soon: list[Callable[[], object]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], object]) -> None:
        self._soon.append(call)

    def call_later(self, secs: float, call: Callable[..., object], *arguments: Any) -> _Handle:
        return self.call_at(self.now + secs, call, *arguments)

    def call_at(self, at: float, call: Callable[..., object], *arguments: Any) -> _Handle:
        live = [True]
        heapq.heappush(self._timers, (at, next(self._order), call, arguments, live))
        return _Handle(live)

    def run(self, until: float) -> None:
        """Everything that is due by then."""
        while self._soon or (self._timers and self._timers[0][0] <= until):
            soon, self._soon = self._soon, []
            for each in soon:
                each()
            if not soon:
                at, _, call, arguments, live = heapq.heappop(self._timers)
                if live[0]:
                    # A timer takes time, or one that is armed again for no time at all would never end.
                    self.now = max(self.now + 1e-6, at)
                    call(*arguments)
        self.now = max(self.now, until)


class _Handle:
    def __init__(self, live: list[bool]) -> None:
        self._live = live

    def cancel(self) -> None:
        self._live[0] = False


class _Conversation:
    fault = 0
    done = False
    mid_frame = False

    def __init__(self, ready: Callable[[], None]) -> None:
        self.id = 0
        self.frames = 0
        self.pending = 0
        self._ready = ready
        self._bytes = 0
        self._due = 0

    def receive(self, data: bytes, now_unix_ns: int) -> bytes:
        del now_unix_ns
        self._bytes += len(data)
        whole, self._bytes = divmod(self._bytes, FRAME_BYTES)
        self.frames += whole
        self.pending += whole
        self.mid_frame = self._bytes > 0
        return b""

    def replies(self) -> bytes:
        due, self._due = self._due, 0
        self.pending -= due
        return bytes(due * REPLY_BYTES)

    def commit(self) -> int:
        """Everything received is stored; how many batches that was."""
        newly = self.pending - self._due
        self._due = self.pending
        if newly:
            self._ready()
        return newly

    def finish(self) -> None:
        """Nothing is kept."""


class _Consumer:
    def __init__(self) -> None:
        self.conversations: list[_Conversation] = []

    def conversation(self, identity: str, node: str, *, relay: bool, ready: Callable[[], None]) -> _Conversation:
        del identity, node, relay
        self.conversations.append(_Conversation(ready))
        return self.conversations[-1]

    def commit(self) -> int:
        return sum([conversation.commit() for conversation in self.conversations])


class _Wire:
    """The listener's socket: what it sends waits here."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, DatagramPath]] = []

    def send(self, data: bytes, path: DatagramPath) -> None:
        self.sent.append((data, path))

    def shedding(self) -> _NoShedding:
        return _NoShedding()


class _Bench:
    """A listener and the agents that it serves."""

    def __init__(self, directory: Path) -> None:
        files = set_up(directory, node="agent")
        self.loop, self.wire, self.consumer = _Loop(), _Wire(), _Consumer()
        settings = QuicListenerSettings(Address("127.0.0.1", 0), files.server_certificate, files.server_key)
        verifier = ClientVerifier.read(files.ca, None)
        self.listener = QuicListener(
            settings, self.consumer, verifier, AllowList(), ListenerEvents(CollectorRegistry())
        )
        # As `start` does it, but for the socket and the loop.
        inside: Any = self.listener
        inside._loop, inside._socket = self.loop, self.wire
        inside._configuration, inside._resets = material.identity_of(settings)
        inside._newcomers.start(self.wire, self.loop)
        self.on_datagram, self.flush = inside._on_datagram, inside._flush
        self.spent = 0.0
        self.agents: dict[int, QuicConnection] = {}
        for port in range(1, CONNECTIONS + 1):
            configuration = QuicConfiguration(
                is_client=True,
                alpn_protocols=[ALPN],
                server_name="localhost",
                supported_versions=[QuicProtocolVersion.VERSION_1],
                idle_timeout=3_600.0,
                max_datagram_size=1_452,
            )
            configuration.load_cert_chain(files.node_certificate, files.node_key)
            configuration.load_verify_locations(str(files.ca))
            agent = self.agents[port] = QuicConnection(configuration=configuration)
            agent.connect(("127.0.0.1", 1), self.loop.now)
            for _ in range(10):
                self.exchange(port)

    def served(self, work: Callable[[], object]) -> None:
        """Work of the listener: its time counts."""
        began = time.thread_time()
        work()
        self.spent += time.thread_time() - began

    def read(self, port: int, datagrams: list[bytes]) -> None:
        """A wake-up that brings these."""
        path = DatagramPath(("127.0.0.1", port))

        def work() -> None:
            for data in datagrams:
                self.on_datagram(data, path)
            self.flush()

        self.served(work)

    def pass_time(self, secs: float) -> None:
        until = self.loop.now + secs
        self.served(lambda: self.loop.run(until))

    def commit(self) -> int:
        batches = self.consumer.commit()
        self.pass_time(0)
        return batches

    def deliver(self) -> None:
        """What the listener sent arrives."""
        sent, self.wire.sent = self.wire.sent, []
        for data, path in sent:
            agent = self.agents[path.peer[1]]
            agent.receive_datagram(data, ("127.0.0.1", 1), self.loop.now)
            while agent.next_event() is not None:
                pass

    def said(self, port: int) -> list[bytes]:
        """What an agent has to send now."""
        agent = self.agents[port]
        timer = agent.get_timer()
        if timer is not None and timer <= self.loop.now:
            agent.handle_timer(self.loop.now)
        return [data for data, _ in agent.datagrams_to_send(self.loop.now)]

    def exchange(self, port: int) -> None:
        said = self.said(port)
        if said:
            self.read(port, said)
        self.pass_time(0.002)
        self.deliver()


class _NoShedding:
    share = 1.0

    def arrived(self) -> None:
        """There is no flood."""

    def came_back(self) -> None:
        """There is no flood."""

    def adjust(self, secs: float) -> None:
        """There is no flood."""


def measure() -> Iterator[Figure]:
    """The least of the rounds, for whatever else the machine does only adds to it."""
    logs.configure("warning", "auto")
    for name, way in (
        ("a batch at a time of each connection", _one_at_a_time),
        ("all windows full", _windows_full),
    ):
        with tempfile.TemporaryDirectory() as directory:
            bench = _Bench(Path(directory))
            gc.collect()
            gc.freeze()
            rounds = sorted(way(bench) for _ in range(ROUNDS))
            gc.unfreeze()
        spread = f"{rounds[0]:.0f} to {rounds[-1]:.0f}, median {rounds[ROUNDS // 2]:.0f}, of {ROUNDS} rounds"
        yield Figure(f"listener, CPU a batch: {name}", rounds[0], "µs", None, spread=spread)


def _one_at_a_time(bench: _Bench) -> float:
    """Each agent sends a batch, all are committed, each is answered."""
    bench.spent = 0.0
    for port, agent in bench.agents.items():
        agent.send_stream_data(0, bytes(FRAME_BYTES))
        bench.read(port, bench.said(port))
        bench.pass_time(COMMIT_SECS / CONNECTIONS)
    bench.pass_time(COMMIT_SECS)
    bench.commit()
    bench.deliver()
    for port in bench.agents:
        if said := bench.said(port):
            bench.read(port, said)
    return bench.spent / CONNECTIONS * 1e6


def _windows_full(bench: _Bench) -> float:
    """Each agent has eight batches on each of four streams on its way."""
    bench.spent = 0.0
    for agent in bench.agents.values():
        for stream_id in (0, 4, 8, 12):
            agent.send_stream_data(stream_id, bytes(8 * FRAME_BYTES))
    waiting = CONNECTIONS * 32
    while waiting > 0:
        for port in bench.agents:
            datagrams = bench.said(port)
            for place in range(0, len(datagrams), READ_DATAGRAMS):
                bench.read(port, datagrams[place : place + READ_DATAGRAMS])
        bench.pass_time(COMMIT_SECS)
        waiting -= bench.commit()
        bench.deliver()
    return bench.spent / CONNECTIONS / 32 * 1e6
