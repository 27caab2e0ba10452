"""An agent learns at once that its collector has died and come back, even where no network tells it."""

from __future__ import annotations

import socket
from pathlib import Path
from random import Random

import pytest
from tests.faults.test_kill import batch, collector_site
from tests.support.process import command
from tests.support.waiting import until

from telemetry_collector.loopback import free_port
from telemetry_collector.sender import Sender
from telemetry_collector.sender.events import Disconnected, SenderEvent
from telemetry_collector.torture.relay import Relay


@pytest.mark.usefixtures("sender_transport")
async def test_a_restarted_collector_resets_the_connections_of_its_life_before(tmp_path: Path, transport: str) -> None:
    events: list[SenderEvent] = []
    port = free_port(socket.SOCK_DGRAM)
    # Behind the relay nothing reports that a port is closed: an agent would wait for replies until it gives up.
    relay = Relay(("127.0.0.1", port), Random(1))
    await relay.start()
    document, settings = collector_site(tmp_path, transport, port, relay.port)
    sender = Sender(settings, on_event=events.append)
    await sender.start()
    async with command("run", document, "--json") as collector:
        sender.offer(batch(1))
        await until_acknowledged(sender, 1)
        collector.process.kill()
        await collector.process.wait()
    sender.offer(batch(2))
    async with command("run", document, "--json") as collector:
        await until_acknowledged(sender, 2)
        await sender.stop()
        code, _ = await collector.stop()
    await relay.stop()
    assert code == 0
    reasons = [event.reason for event in events if isinstance(event, Disconnected)]
    assert len(reasons) == 1
    assert "stateless reset" in reasons[0]


async def until_acknowledged(sender: Sender, batches: int) -> None:
    await until(lambda: sender.stats.batches_acknowledged >= batches)
