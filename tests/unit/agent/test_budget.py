"""Which share of its budgets an agent uses."""

from dataclasses import replace

import pytest

from telemetry_collector.agent.budget import PUT_OFF_SHARE, Budget, Usage

NOTHING = Usage(
    now=100.0,
    cpu_secs=7.0,
    memory_bytes=50,
    disk_bytes=10,
    answers=5,
    answers_put_off=1,
    answers_narrow=0,
    batches_pending=0,
)


def budget() -> Budget:
    return Budget(cpu_percent=5.0, memory_bytes=100, disk_bytes=100, patience_held=0.65)


def test_processor_time_counts_since_the_last_look_and_memory_and_disk_as_they_are() -> None:
    one = budget()
    assert one.shares(NOTHING) == {"memory": 0.5, "disk": 0.1, "collector": 0.0}
    shares = one.shares(replace(NOTHING, now=110.0, cpu_secs=7.25, memory_bytes=120))
    assert shares["cpu"] == pytest.approx(0.5), "a quarter of a second in ten is half of five percent"
    assert shares["memory"] == 1.2


def test_what_has_no_bound_has_no_share() -> None:
    one = Budget(cpu_percent=None, memory_bytes=None, disk_bytes=None, patience_held=0.65)
    one.shares(NOTHING)
    assert set(one.shares(replace(NOTHING, now=200.0, cpu_secs=99))) == {"collector"}


def test_a_collector_that_puts_off_or_narrows_loses_patience_and_regains_it() -> None:
    one = budget()
    one.shares(NOTHING)
    shares = one.shares(replace(NOTHING, answers=15, answers_put_off=2, answers_narrow=1))
    assert shares["collector"] == pytest.approx(2 / 10 / PUT_OFF_SHARE)
    assert one.shares(replace(NOTHING, answers=25, answers_put_off=2, answers_narrow=1))["collector"] == 0.0


def test_silence_while_something_waits_neither_sheds_nor_sends_more() -> None:
    one = budget()
    one.shares(NOTHING)
    one.shares(replace(NOTHING, answers=6, answers_put_off=2))
    waiting = replace(NOTHING, answers=6, answers_put_off=2, batches_pending=3)
    assert one.shares(waiting)["collector"] == 0.65
    assert one.shares(waiting)["collector"] == 0.65
    assert one.shares(replace(waiting, batches_pending=0))["collector"] == 0.0


def test_an_outage_alone_is_no_reason_to_shed() -> None:
    one = budget()
    one.shares(NOTHING)
    assert one.shares(replace(NOTHING, batches_pending=1_000))["collector"] == 0.0
