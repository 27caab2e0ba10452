"""A sender with a spool as a process of its own, to be killed: `python -m tests.support.spool_process SITE`.

SITE is a JSON document. It sends batches for ever, and writes to `durable` the number of each batch that is on stable
storage (its first byte may be sent), and to `answered` what it was told, a line each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from array import array
from pathlib import Path
from typing import Any

import uvloop

from telemetry_collector.config import Address
from telemetry_collector.sender import Batch, Sender, SpoolSettings, TransportSettings, events

BATCH_POINTS = 50


def batch(number: int) -> Batch:
    """Points whose values no other batch has."""
    return Batch(
        common_tags=(),
        series=[(f"test.metric.{place}", (), 2, "", False) for place in range(10)],
        series_index=array("I", (place % 10 for place in range(BATCH_POINTS))),
        timestamps_unix_ns=array("q", [0]) * BATCH_POINTS,
        values=array("d", (number * BATCH_POINTS + place for place in range(BATCH_POINTS))),
    )


async def run(site: dict[str, Any]) -> None:
    directory = Path(site["directory"])
    transport = TransportSettings(
        endpoints=(Address("127.0.0.1", site["port"]),),
        cert_path=Path(site["cert"]),
        key_path=Path(site["key"]),
        ca_path=Path(site["ca"]),
        transport=site["transport"],
        server_name="localhost",
        backoff_min_secs=0.05,
        backoff_max_secs=0.2,
        unreachable_secs=0.1,
    )
    answered = (directory / "answered").open("a", buffering=1)

    def on_event(event: events.SenderEvent) -> None:
        if isinstance(event, events.Answered):
            answered.write(f"{event.epoch} {event.sequence} {event.outcome.name} {event.accepted_points}\n")

    sender = Sender(transport, spool=SpoolSettings(directory=directory / "spool", bytes_max=1 << 26), on_event=on_event)
    await sender.start()
    number = site["first"]
    durable = (directory / "durable").open("a", buffering=1)
    pending: list[tuple[int, int]] = []
    while True:
        pending.append((sender.offer(batch(number)), number))
        number += 1
        await asyncio.sleep(0.004)
        while pending and sender.durable(pending[0][0]):
            durable.write(f"{pending.pop(0)[1]}\n")


if __name__ == "__main__":
    uvloop.run(run(json.loads(sys.argv[1])))
