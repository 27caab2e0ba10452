"""Makes a sample of the spool's format: `python -m tests.formats.make_spool DIRECTORY`, then pack the directory.

Seven batches of three to nine points; the second is answered, the fourth split, and a half of it answered.
"""

import sys
import time
from array import array
from collections.abc import Callable

from telemetry_collector._core import Batch, Spool


def batch(number: int, points: int) -> Batch:
    return Batch(
        common_tags=[("node_id", "node-1"), ("region", "eu")],
        series=[
            ("system.load", [("cpu", "0")], 2, "1", False),
            ("system.network.received", [("device", "eth0")], 1, "By", True),
        ],
        series_index=array("I", (place % 2 for place in range(points))),
        timestamps_unix_ns=array("q", (1_700_000_000_000_000_000 + 1_000 * (place // 2) for place in range(points))),
        values=array("d", (100.0 * number + place for place in range(points))),
    )


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the spool writes"
        time.sleep(0.01)


def main(directory: str) -> None:
    spool = Spool(
        directory=directory,
        bytes_max=1 << 20,
        memory_bytes_max=1 << 20,
        machine_id="machine-1",
        identity="spiffe://example/node-1",
        node="node-1",
    )
    for number in range(1, 8):
        spool.put(batch(number, number + 2))
    wait(lambda: spool.durable(7))
    spool.acknowledge(2)
    first = spool.split(4)
    assert first == 8
    wait(lambda: spool.durable(8))
    spool.acknowledge(8)
    spool.maintain()
    spool.put(batch(10, 1))
    wait(lambda: spool.durable(10))


if __name__ == "__main__":
    main(sys.argv[1])
