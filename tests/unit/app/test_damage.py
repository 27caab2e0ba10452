"""A record that a checkpoint spared recovery from reading is read by a writer; that it is damaged is told then."""

from __future__ import annotations

import time
from pathlib import Path

from structlog.testing import capture_logs
from tests.support.blocks import Point
from tests.support.journal import journal

from telemetry_collector.app.damage import Damage

MARK = "damaged.here"


def test_damage_behind_the_checkpoint_is_counted_and_told_once(tmp_path: Path) -> None:
    with journal(tmp_path) as before:
        for name in ("sound.before", MARK, "sound.after"):
            before.append([Point(name, timestamp_ns=time.time_ns())])
    (segment,) = tmp_path.glob("segment-*")
    data = segment.read_bytes()
    at = data.index(MARK.encode())
    segment.write_bytes(data[:at] + b"D" + data[at + 1 :])

    with journal(tmp_path) as after, capture_logs() as lines:
        damage = Damage(after.core, "points")
        damage.look()
        assert (after.core.recovery["quarantined"], lines) == ([], []), "it was met by recovery already"

        read = after.blocks()
        for _ in range(2):
            damage.look()

        assert sum(blocks.points for blocks in read) == 2
        assert after.core.stats()["journal_quarantined"] == 1
        assert [(line["event"], line["journal"], line["ranges"]) for line in lines] == [
            ("journal_damaged", "points", 1)
        ]
