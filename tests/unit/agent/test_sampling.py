"""That what is left out leaves the truth: rates in their bounds, sums unbiased, readings evenly apart."""

import itertools
import math
from random import Random
from typing import Any

import pytest

from telemetry_collector.agent.sampling import FALL, NAMES_MAX, RATE_LEAST, RISE, Importance, Rule, Sampling

RULES = (
    Rule("agent.*", Importance.CRITICAL),
    Rule("gpu.*", Importance.HIGH),
    Rule("process.*", Importance.LOW),
    Rule("system.disk.*", rate_min=0.25),
)


def sampling(seed: str = "node", rules: tuple[Rule, ...] = RULES) -> Sampling:
    return Sampling(rules, seed=seed.encode(), step_secs=10)


def fallen(steps: int, seed: str = "node", rules: tuple[Rule, ...] = RULES) -> Sampling:
    """One whose rates have fallen so many times."""
    made = sampling(seed, rules)
    for step in range(steps):
        made.adjust(2.0, step * 10.0)
    return made


def test_rates_fall_above_the_high_mark_rise_below_the_low_one_and_rest_between() -> None:
    one = sampling()
    assert one.adjust(0.9, 0)
    assert one.rate("system.load.1m") == FALL
    assert not one.adjust(0.65, 10), "between the marks"
    assert one.adjust(0.81, 20)
    assert one.rate("system.load.1m") == pytest.approx(FALL * FALL)
    assert one.adjust(0.49, 30)
    assert one.rate("system.load.1m") == pytest.approx(FALL * FALL * RISE)
    for step in range(4, 8):
        one.adjust(0.0, step * 10)
    assert set(one.rates.values()) == {1.0}
    assert not one.sheds


def test_a_step_takes_its_time_however_often_it_is_asked_for() -> None:
    one = sampling()
    for tenth in range(1_000):
        one.adjust(9.9, tenth / 10)
    assert one.rate("x") == pytest.approx(FALL**10)


def test_importance_bounds_how_far_rates_fall_and_what_is_critical_is_never_left_out() -> None:
    one = fallen(1_000)
    assert one.rates == {"agent.*": 1.0, "gpu.*": 0.5, "process.*": 0.01, "system.disk.*": 0.25, "*": 0.1}
    for _ in range(100):
        one.tick()
        assert one.due("agent.cpu.time", "agent")


@pytest.mark.parametrize("seed", range(20))
def test_rates_stay_in_their_bounds_whatever_the_pressure(seed: int) -> None:
    random = Random(seed)
    one, now = sampling(), 0.0
    for _ in range(2_000):
        now += random.uniform(0, 30)
        one.adjust(random.choice([0.0, 0.3, 0.7, 1.5, math.inf]), now)
        for rule in (*RULES, Rule("*")):
            assert rule.floor <= one.rates[rule.pattern] <= 1.0


def test_floors_have_a_floor_and_marks_an_order() -> None:
    assert Rule("x", rate_min=0.0).floor == RATE_LEAST
    assert Rule("x", Importance.CRITICAL, rate_min=0.5).floor == 1.0
    with pytest.raises(ValueError, match="expected 0 < low_mark < high_mark"):
        Sampling(seed=b"", low_mark=0.8, high_mark=0.8)


def test_the_first_pattern_that_fits_counts() -> None:
    rules = (Rule("system.disk.busy.*", Importance.CRITICAL), Rule("system.disk.*"))
    one = fallen(1, rules=rules)
    assert one.rate("system.disk.busy.time") == 1.0
    assert one.rate("system.disk.used") == FALL
    assert one.pattern("system.disk.used") == "system.disk.*"
    assert one.pattern("anything") == "*"


def test_names_are_forgotten_rather_than_kept_without_bound() -> None:
    one = sampling()
    for place in range(3 * NAMES_MAX):
        one.rate(f"name.{place}")
    assert len(one._known) <= NAMES_MAX


def test_what_is_left_out_is_counted_by_pattern() -> None:
    one = sampling()
    one.count_shed("requests")
    one.count_shed("process.count", 7)
    assert one.shed == {"*": 1, "process.*": 7}


# ---- readings


@pytest.mark.parametrize("steps", [0, 1, 3, 7, 15, 22, 40])
def test_readings_are_evenly_apart(steps: int) -> None:
    for group in ("cpu", "disk", "network"):
        one, due = fallen(steps), []
        for tick in range(2_000):
            one.tick()
            if one.due("system.x", group):
                due.append(tick)
        rate = one.rate("system.x")
        assert len(due) == pytest.approx(2_000 * rate, abs=1.5)
        gaps = {later - earlier for earlier, later in itertools.pairwise(due)}
        assert gaps <= {math.floor(1 / rate), math.ceil(1 / rate)}


def test_a_reading_is_as_likely_as_its_rate_over_many_seeds_also_while_rates_move() -> None:
    seeds, ticks = 1_000, 30
    due, rates = [0] * ticks, [0.0] * ticks
    for seed in range(seeds):
        one = sampling(f"node-{seed}")
        for tick in range(ticks):
            one.adjust(1.0 if tick < 20 else 0.0, tick * 10.0)
            one.tick()
            due[tick] += one.due("system.x", "disk")
            rates[tick] = one.rate("system.x")
    for tick in range(ticks):
        error = math.sqrt(rates[tick] * (1 - rates[tick]) / seeds)
        assert due[tick] / seeds == pytest.approx(rates[tick], abs=4.5 * error + 1e-9)


def test_groups_and_nodes_take_turns() -> None:
    """With a rate of a tenth no reading has more than some of them."""
    nodes = [fallen(22, f"node-{place}") for place in range(200)]
    loads = []
    for _ in range(10):
        for node in nodes:
            node.tick()
        loads.append(sum(node.due("system.x", "disk") for node in nodes))
    assert max(loads) <= 45
    assert min(loads) >= 5


def test_what_has_one_rule_and_one_group_goes_together() -> None:
    one = fallen(10)
    for _ in range(200):
        one.tick()
        assert one.due("system.load.1m", "host") == one.due("system.uptime", "host")


def test_a_rule_takes_its_importance_by_its_word() -> None:
    assert Rule("debug.*", "low") == Rule("debug.*", Importance.LOW)  # type: ignore[arg-type]
    assert Rule("debug.*", "low").floor == 0.01  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("debug.*", "lowest"), "importance = 'lowest': expected one of critical, high"),
        ((5,), "pattern = 5"),
        (("",), "pattern = ''"),
        (("debug.*", "low", "0.5"), "rate_min = '0.5': expected a number from 0.001 to 1, or None"),
        (("debug.*", "low", float("nan")), "rate_min = nan"),
    ],
)
def test_a_rule_that_cannot_work_is_told_where_it_is_made(words: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rule(*words)
