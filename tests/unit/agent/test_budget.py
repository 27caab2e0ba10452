"""Which share of its budgets an agent uses."""

from dataclasses import replace

import pytest

from telemetry_collector.agent.budget import PUT_OFF_SHARE, Budget, Usage
from telemetry_collector.agent.sampling import Rule, Sampling

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


def test_what_waits_from_earlier_is_no_reason_to_send_less_still() -> None:
    one = budget()
    one.shares(NOTHING)
    grown = replace(NOTHING, answers=10, answers_put_off=6, batches_pending=40)
    assert one.shares(grown)["collector"] > 1
    less = replace(grown, answers=20, answers_put_off=16, batches_pending=39)
    assert one.shares(less)["collector"] == 0.65
    behind = replace(less, answers=30, answers_put_off=16, answers_narrow=10, batches_pending=38)
    assert one.shares(behind)["collector"] > 1, "the collector itself is behind, whatever waits here"
    assert one.shares(replace(behind, answers=40, batches_pending=0))["collector"] == 0.0


@pytest.mark.parametrize("quota", [0.9, 0.5, 0.1, 0.01])
def test_an_agents_rates_settle_at_the_quota_and_rise_when_it_is_lifted(quota: float) -> None:
    sampling = Sampling([Rule("*", rate_min=0.001)], seed=b"fixed")
    one = budget()
    batches_a_step = 1_000
    used, waiting = replace(NOTHING, answers=0, answers_put_off=0), 0.0

    def steps(count: int, share: float) -> list[float]:
        nonlocal used, waiting
        rates = []
        for _ in range(count):
            waiting += batches_a_step * sampling.rates["*"]
            taken = min(waiting, batches_a_step * share)
            waiting -= taken
            # What waits is tried once a second, and told to wait.
            put_off = 10 if waiting else 0
            used = replace(
                used,
                now=used.now + 10,
                answers=used.answers + round(taken) + put_off,
                answers_put_off=used.answers_put_off + max(put_off, round(taken) if waiting else 0),
                batches_pending=round(waiting),
            )
            sampling.adjust(one.shares(used)["collector"], used.now)
            rates.append(sampling.rates["*"])
        return rates

    steps(50, quota)
    settled = steps(200, quota)
    assert quota / 1.3 <= min(settled) <= max(settled) <= quota * 1.3
    assert steps(70, 100.0)[-1] == 1.0
