"""Every writer gets every block once, at its own pace, and one that fails costs nobody else anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.delivery import Stand
from tests.support.waiting import until

from telemetry_collector.errors import ConfigError, Mistake, PermanentError, RetryableError
from telemetry_collector.pipeline.fanout import FanOut

WAIT_SECS_MAX = 10.0


async def test_what_is_committed_is_written_flushed_and_only_then_stored() -> None:
    stand = Stand()
    await stand.fanout.start()
    stand.commit()
    await until(lambda: len(stand.writer.taken) == 1)
    assert (stand.writer.flushed, stand.cursor.stored) == ([], 0)
    assert await stand.fanout.stop(WAIT_SECS_MAX) == []
    assert (stand.flushed, stand.cursor.stored) == ([0], 100)
    assert (stand.consumer.points_written, stand.events.points) == (1, 1)


async def test_a_writer_is_not_woken_before_a_batch_is_worth_it() -> None:
    stand = Stand(batch_points=10)
    await stand.fanout.start()
    for _ in range(9):
        stand.commit()
    for _ in range(100):
        await asyncio.sleep(0)
    assert stand.writer.taken == []
    stand.commit()
    await until(lambda: len(stand.writer.taken) == 10)
    await stand.fanout.stop(WAIT_SECS_MAX)


async def test_commits_wake_the_process_only_for_what_a_writer_waits_for() -> None:
    stand = Stand(batch_points=10)
    await stand.fanout.start()
    await until(lambda: stand.cursor.wanted == 1)
    stand.commit()
    await until(lambda: stand.cursor.wanted == 10)
    await stand.fanout.stop(WAIT_SECS_MAX)


async def test_the_flush_interval_ends_the_waiting() -> None:
    stand = Stand(batch_points=1_000_000)
    stand.writer.flush_interval_secs = 0.01
    await stand.fanout.start()
    stand.commit()
    await until(lambda: stand.cursor.stored == 100)
    stand.commit()
    await until(lambda: stand.cursor.stored == 200)
    await stand.fanout.stop(WAIT_SECS_MAX)


@pytest.mark.parametrize("fault", [RetryableError("down"), ValueError("a defect")])
async def test_a_writer_that_fails_reads_again_from_where_it_had_stored(fault: Exception) -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    stand.commit()
    await until(lambda: stand.cursor.stored == 100)
    stand.writer.faults.append(fault)
    stand.commit()
    await until(lambda: stand.cursor.stored == 200)
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert stand.flushed == [0, 100]
    assert stand.writer.starts == 2
    assert stand.events.told == [("failed", "fake", type(fault).__name__)]
    assert stand.consumer.failing is None


async def test_a_journal_that_gives_nothing_of_what_it_has_is_a_failure_and_no_endless_loop() -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    stand.cursor.gives = False
    await stand.fanout.start()
    stand.commit()
    await until(lambda: stand.consumer.failing is not None)
    assert stand.events.told[0] == ("failed", "fake", "RetryableError")
    stand.cursor.gives = True
    await until(lambda: stand.cursor.stored == 100)
    assert stand.consumer.failing is None
    await stand.fanout.stop(WAIT_SECS_MAX)


async def test_a_journal_to_which_as_much_comes_as_is_read_of_it_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    flush = stand.writer.flush

    async def flush_while_more_comes() -> int:
        if len(stand.cursor.blocks) < 10:
            stand.commit()
        return await flush()

    monkeypatch.setattr(stand.writer, "flush", flush_while_more_comes)
    await stand.fanout.start()
    stand.commit()
    stand.commit()
    await until(lambda: stand.cursor.stored == 1_000)
    assert stand.events.told == []
    await stand.fanout.stop(WAIT_SECS_MAX)


async def test_a_failing_writer_says_so_until_it_works_again() -> None:
    stand = Stand()
    stand.writer.start_fault = RetryableError("the disk is away")
    await stand.fanout.start()
    assert stand.consumer.failing == "the disk is away"
    await until(lambda: stand.writer.starts >= 3)
    stand.writer.start_fault = None
    stand.commit()
    await until(lambda: bool(stand.writer.flushed))
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert not stand.consumer.failing


async def test_what_became_unusable_while_running_is_told_in_words_and_mends_itself() -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    stand.writer.faults.append(RetryableError("cannot write"))
    stand.writer.start_fault = ConfigError([Mistake("parquet.output_dir", "cannot be used: read-only file system")])
    with capture_logs() as logs:
        stand.commit()
        await until(lambda: stand.writer.starts >= 3)
        assert "read-only file system" in (stand.consumer.failing or "")
        stand.writer.start_fault = None
        await until(lambda: stand.cursor.stored == 100)
        await stand.fanout.stop(WAIT_SECS_MAX)
    assert {line["event"] for line in logs} == {"writer_failed"}, "no defect, no traceback"


async def test_a_destination_that_keeps_a_writer_waiting_is_told_too() -> None:
    stand = Stand()
    stand.destination.failing = "refused: 503"
    assert stand.consumer.failing == "refused: 503"


async def test_what_only_an_operator_can_mend_stops_the_start() -> None:
    stand = Stand()
    stand.writer.start_fault = ConfigError([Mistake("parquet.output_dir", "is held by another process")])
    with pytest.raises(ConfigError, match="is held by another process"):
        await stand.fanout.start()
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert stand.writer.stops == 1


async def test_points_refused_for_good_are_counted_and_the_next_ones_go_on() -> None:
    stand = Stand()
    stand.writer.faults.append(PermanentError("never"))
    stand.commit(points=3)
    stand.commit()
    await stand.fanout.start()
    await until(lambda: len(stand.writer.taken) == 1)
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert (stand.flushed, stand.cursor.stored) == ([100], 200)
    assert stand.events.told == [("dropped", "fake", "3", "PermanentError")]


async def test_what_the_destination_refused_does_not_count_as_written() -> None:
    stand = Stand(batch_points=100)
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    stand.commit(points=10)
    await until(lambda: stand.cursor.stored == 100)
    stand.destination.points_refused = 3
    stand.commit(points=10)
    await until(lambda: stand.cursor.stored == 200)
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert (stand.consumer.points_written, stand.consumer.points_refused) == (17, 3)


async def test_what_the_destination_already_has_is_skipped() -> None:
    stand = Stand()
    stand.commit()
    stand.commit()
    stand.writer.skip_to = 100
    await stand.fanout.start()
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert stand.flushed == [100]


async def test_finishing_reads_to_the_end_however_often_a_flush_is_due_meanwhile() -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    for _ in range(50):
        stand.cursor.commit()
    assert await stand.fanout.stop(WAIT_SECS_MAX) == []
    assert (len(stand.flushed), stand.cursor.stored) == (50, 5_000)


async def test_a_writer_that_hangs_is_named_and_the_stop_keeps_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    stand, other = Stand(), Stand()
    hanging = asyncio.Event()

    async def hang(_blocks: Any) -> None:
        hanging.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stand.writer, "write", hang)
    both = FanOut([stand.consumer, other.consumer])
    stand.cursor.commit()
    other.cursor.commit()
    await both.start()
    both.committed()
    await asyncio.wait_for(hanging.wait(), WAIT_SECS_MAX)
    assert await both.stop(0.2) == ["fake"]
    assert other.flushed == [0], "the other one finished"
    assert stand.cursor.stored == 0
