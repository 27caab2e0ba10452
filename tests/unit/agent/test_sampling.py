"""That what is left out leaves the truth: rates in their bounds, sums unbiased, readings evenly apart."""

import itertools
import math
import statistics
from random import Random

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
    assert one.weight("agent.cpu.time", "any", 1) == 1.0


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


# ---- increments


def estimate(one: Sampling, increments: list[float]) -> float:
    return sum(one.weight("requests", "series", bucket) * value for bucket, value in enumerate(increments))


@pytest.mark.parametrize("steps", [1, 5, 22])
def test_weighted_increments_add_up_to_all_increments_over_many_seeds(steps: int) -> None:
    """Within four standard errors, which follow from the rate: var = Σ x² (1 - p) / p."""
    random = Random(1)
    increments = [random.expovariate(0.1) for _ in range(50)]
    rate = fallen(steps).rate("requests")
    assert 0.09 < rate < 1
    seeds = 2_000
    estimates = [estimate(fallen(steps, f"node-{seed}"), increments) for seed in range(seeds)]
    expected = math.sqrt(sum(x * x for x in increments) * (1 - rate) / rate)
    assert statistics.stdev(estimates) == pytest.approx(expected, rel=0.1)
    assert statistics.mean(estimates) == pytest.approx(sum(increments), abs=4 * expected / math.sqrt(seeds))


def test_estimates_stay_unbiased_while_the_rates_move() -> None:
    seeds, total, estimates = 2_000, 0.0, []
    for seed in range(seeds):
        one, sum_ = sampling(f"n{seed}"), 0.0
        for bucket in range(40):
            one.adjust(1.0 if bucket % 20 < 14 else 0.0, bucket * 10.0)
            sum_ += one.weight("requests", "series", bucket) * (bucket + 1)
        estimates.append(sum_)
    total = sum(range(1, 41))
    error = statistics.stdev(estimates) / math.sqrt(seeds)
    assert statistics.mean(estimates) == pytest.approx(total, abs=4 * error)
    assert error < total / 100


def test_a_periodic_increment_is_not_hit_or_missed_for_ever() -> None:
    """Evenly spaced decisions would see every second bucket of one parity only."""
    one = fallen(7)
    assert one.rate("requests") == pytest.approx(0.478, abs=0.001)
    increments = [float(bucket % 2) for bucket in range(20_000)]
    assert estimate(one, increments) == pytest.approx(10_000, rel=0.05)


def test_whole_counts_are_unbiased_too() -> None:
    one = sampling()
    counts = [one.whole(2.3, "series", bucket) for bucket in range(20_000)]
    assert set(counts) == {2, 3}
    assert statistics.mean(counts) == pytest.approx(2.3, abs=0.02)
    assert one.whole(7.0, "series", 1) == 7


def test_a_decision_is_the_same_again_and_what_is_kept_at_one_rate_is_kept_at_a_higher() -> None:
    decided = [bool(fallen(10).weight("requests", "series", bucket)) for bucket in range(1_000)]
    assert decided == [bool(fallen(10).weight("requests", "series", bucket)) for bucket in range(1_000)]
    higher = [bool(fallen(5).weight("requests", "series", bucket)) for bucket in range(1_000)]
    assert all(more for kept, more in zip(decided, higher, strict=True) if kept)
    other = [bool(fallen(10).weight("requests", "another", bucket)) for bucket in range(1_000)]
    assert decided != other


def test_what_is_left_out_is_counted_by_pattern() -> None:
    one = fallen(22)
    kept = sum(one.weight("requests", "s", bucket) > 0 for bucket in range(1_000))
    assert one.shed == {"*": 1_000 - kept}
    one.count_shed("process.count", 7)
    assert one.shed["process.*"] == 7


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
