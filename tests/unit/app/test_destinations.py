"""Writers are exchanged on a real journal: which of them hold it, and where they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.blocks import Point
from tests.support.journal import Journal, journal
from tests.support.waiting import until

from telemetry_collector.app.destinations import Destinations
from telemetry_collector.clock import SystemClock
from telemetry_collector.errors import ConfigError, JournalError, PermanentError
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.pipeline.room import JournalRoom
from telemetry_collector.writers.console import ConsoleConfig, ConsoleWriter
from telemetry_collector.writers.parquet import ParquetConfig

SELDOM = ConsoleConfig(every_secs=3_600)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Journal]:
    with journal(tmp_path / "journal") as filled:
        filled.append([Point(timestamp_ns=0)])
        yield filled


@pytest.fixture
async def destinations(filled: Journal) -> AsyncIterator[Destinations]:
    clock = SystemClock()
    room = JournalRoom(filled.core.stats, lambda: 1 << 30, None, clock, segment_bytes=1)
    destinations = Destinations({"console": SELDOM}, filled.core, new_registry("0"), clock, room)
    await destinations.fanout.start()
    yield destinations
    await destinations.fanout.stop(10.0)


async def test_one_that_is_removed_has_flushed_and_holds_the_journal_no_longer(
    destinations: Destinations, filled: Journal
) -> None:
    cursor = filled.core.cursor("console")
    await destinations.change({})
    assert (destinations.sections, destinations.fanout.consumers) == ({}, ())
    with pytest.raises(JournalError, match="console"):
        cursor.store(filled.core.committed)
    assert filled.core.cursor("console").stored == filled.core.committed


async def test_one_that_is_changed_goes_on_where_it_stood_with_its_counts(
    destinations: Destinations, filled: Journal
) -> None:
    await destinations.change({"console": ConsoleConfig(every_secs=0.01)})
    filled.append([Point(timestamp_ns=0)])
    destinations.fanout.committed()
    (consumer,) = destinations.fanout.consumers
    await until(lambda: consumer.points_written == 2)


async def test_one_that_is_the_same_is_left_alone(destinations: Destinations) -> None:
    before = destinations.fanout.consumers
    await destinations.change({"console": ConsoleConfig(every_secs=3_600)})
    assert destinations.fanout.consumers == before


async def test_every_section_that_cannot_be_used_is_named_and_the_others_are_in_force(
    destinations: Destinations, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    changed = ConsoleConfig(every_secs=7)
    with pytest.raises(ConfigError) as raised:
        await destinations.change({"parquet": ParquetConfig(output_dir=in_the_way), "console": changed})
    assert [mistake.key for mistake in raised.value.mistakes] == ["parquet.output_dir"]
    assert destinations.sections == {"console": changed}
    assert [consumer.name for consumer in destinations.fanout.consumers] == ["console"]


@pytest.mark.parametrize("fault", [PermanentError("of no use"), TypeError("a defect")])
async def test_an_exchange_that_fails_in_any_way_leaves_the_former_at_work(
    destinations: Destinations, filled: Journal, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def broken(_writer: ConsoleWriter, _stored: int) -> int:
        raise fault

    quick = ConsoleConfig(every_secs=0.01)
    await destinations.change({"console": quick})
    with monkeypatch.context() as patched:
        patched.setattr(ConsoleWriter, "start", broken)
        with pytest.raises(ConfigError, match=str(fault)):
            await destinations.change({"console": SELDOM})
    assert destinations.sections == {"console": quick}
    filled.append([Point(timestamp_ns=0)])
    (consumer,) = destinations.fanout.consumers
    await until(lambda: consumer.points_written == 2)


async def test_a_writer_without_a_consumer_is_started_again_by_its_own_section(destinations: Destinations) -> None:
    (consumer,) = destinations.fanout.consumers
    await destinations.fanout.remove(consumer, 10.0)
    await destinations.change({"console": SELDOM})
    assert [each.name for each in destinations.fanout.consumers] == ["console"]
