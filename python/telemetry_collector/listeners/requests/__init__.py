"""Listeners for the protocols that ask once and are answered once: OTLP, line protocol, Prometheus' remote write.

    client ─► HttpListener | GrpcListener ─► Door (peer, room, counters) ─► consumer.take ─► core
                     ◄── the protocol's own answer ◄── Taken, after the commit ──┘

A listener speaks HTTP or gRPC, a protocol (`otlp`, `influx`, `prometheus`) says how its requests are read and how what
became of them is told, and the `Door` between them is the same for all. `requests.grpc` is imported only where it is
wanted: gRPC takes its time and memory.
"""

from telemetry_collector.listeners.requests.door import Door, RequestConsumer
from telemetry_collector.listeners.requests.events import RequestEvents
from telemetry_collector.listeners.requests.peers import Trust, server_context

__all__ = ["Door", "RequestConsumer", "RequestEvents", "Trust", "server_context"]
