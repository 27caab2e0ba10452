"""The console writer: counts, and the points that were asked for."""

import io

from tests.support.blocks import HISTOGRAM, SUMMARY, FakeBlocks, Point, blocks_of
from tests.support.writing import Observed

from telemetry_collector.writers.console import ConsoleConfig, ConsoleWriter


async def test_a_summary_a_flush() -> None:
    observed, stream = Observed(), io.StringIO()
    console = ConsoleWriter(ConsoleConfig(), observed.context("console"), stream)
    assert await console.start(5) == 5
    await console.write(blocks_of(10, 5))
    await console.write(blocks_of(10, 15))
    assert stream.getvalue() == ""
    assert await console.flush() == 25
    assert stream.getvalue() == "20 points in 2 batches\n"
    assert observed.count("points", "console") == 20
    assert await console.flush() == 25
    assert stream.getvalue().endswith("\n0 points in 0 batches\n")
    await console.write(blocks_of(1, 25))
    assert await console.flush() == 26
    assert stream.getvalue().endswith("\n1 point in 1 batch\n")
    await console.stop()


async def test_points_are_shown_up_to_the_bound() -> None:
    stream = io.StringIO()
    console = ConsoleWriter(ConsoleConfig(max_rows=3), Observed().context("console"), stream)
    await console.start(0)
    cpu = Point(
        value=0.41, tags={"node_id": "node-1", "zone": "a", "core": "7"}, timestamp_ns=1_792_800_004_250_000_000
    )
    await console.write(FakeBlocks([cpu, HISTOGRAM], 0, 10))
    await console.write(FakeBlocks([SUMMARY, cpu], 10, 20))
    await console.flush()
    assert stream.getvalue().splitlines() == [
        "4 points in 2 batches",
        "00:00:04.250 system.cpu.usage 0.41 1 node_id=node-1 zone=a core=7",
        "00:00:00.000 request.seconds count=6 sum=2.5 s node_id=node-1",
        "00:00:00.000 queue.seconds count=4 sum=3 s node_id=node-1",
    ]
    await console.stop()
