"""What earlier versions wrote is read."""

import tarfile
from pathlib import Path

from tests.support.repository import REPOSITORY

from telemetry_collector._core import Spool

EPOCH = 11925674761839885060
POINTS = {1: 3, 3: 5, 5: 7, 6: 8, 7: 9, 9: 3, 10: 1}
"""Of each batch without an answer: the second had one, and of the fourth's halves the first."""


def test_a_spool_of_version_1_is_read(tmp_path: Path) -> None:
    with tarfile.open(REPOSITORY / "tests/formats/spool-1/spool.tar.gz") as sample:
        sample.extractall(tmp_path, filter="data")
    spool = Spool(
        directory=str(tmp_path),
        bytes_max=1 << 20,
        memory_bytes_max=0,
        machine_id="machine-1",
        identity="spiffe://example/node-1",
        node="node-1",
    )
    assert (spool.epoch, spool.opening["renewal"], spool.opening["damaged_bytes"]) == (EPOCH, None, 0)
    found, sequence = {}, 0
    while (following := spool.next_after(sequence)) is not None:
        sequence = following
        held = spool.batch(sequence)
        assert held is not None
        found[sequence] = held.points
    assert found == POINTS
    assert spool.oldest_unacknowledged == 1
    assert spool.next_sequence > max(POINTS), "names that were used are not given again"
    spool.close()
