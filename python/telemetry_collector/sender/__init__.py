"""The client half of the wire: what an agent, a forwarder or a bench needs to get batches to a collector.

```text
offer/put ─► Outbox ─► Delivery ─► Session ─► Connection ─► quinn or aioquic ─► collector
                                                      └───► unix socket ─► the agent of this machine
             names     what next   streams,   handshake,   datagrams, TLS
             bounds    answers     credit     timers
                          ▲           │
                          └── replies ┘
```

`Sender` is the way in. `Delivery` and `Session` know neither sockets nor clocks. The outbox is in memory, or a spool on
disk that outlives the process. `RelayStream` reads what an agent takes over from services, to be offered here.
"""

from telemetry_collector._core import Batch, Heartbeat, RelayedBatch, RelayStream
from telemetry_collector.config import Address
from telemetry_collector.model import MetricType
from telemetry_collector.sender.points import Point, TimedPoints, batch_of, batch_of_readings
from telemetry_collector.sender.sender import Sender
from telemetry_collector.sender.settings import (
    DeliverySettings,
    OutboxSettings,
    SocketSettings,
    SpoolSettings,
    TransportName,
    TransportSettings,
)
from telemetry_collector.sender.stats import SenderStats

__all__ = [
    "Address",
    "Batch",
    "DeliverySettings",
    "Heartbeat",
    "MetricType",
    "OutboxSettings",
    "Point",
    "RelayStream",
    "RelayedBatch",
    "Sender",
    "SenderStats",
    "SocketSettings",
    "SpoolSettings",
    "TimedPoints",
    "TransportName",
    "TransportSettings",
    "batch_of",
    "batch_of_readings",
]
