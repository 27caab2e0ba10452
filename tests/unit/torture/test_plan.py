"""A seed decides everything that is done, and every kind of it comes."""

from collections import Counter
from itertools import islice
from random import Random

from telemetry_collector.torture.link import CLEAR, Link
from telemetry_collector.torture.plan import Blow, Trouble, spells, strikes


def test_a_seed_decides_the_schedule() -> None:
    assert list(islice(strikes(7, 2, 3), 50)) == list(islice(strikes(7, 2, 3), 50))
    assert list(islice(spells(7, 2), 50)) == list(islice(spells(7, 2), 50))
    assert list(islice(strikes(7, 2, 3), 50)) != list(islice(strikes(8, 2, 3), 50))


def test_every_kind_of_blow_and_trouble_comes_to_everybody() -> None:
    blows = list(islice(strikes(1, 2, 3), 300))
    assert {strike.blow for strike in blows} == set(Blow)
    assert {(strike.collector, strike.agent) for strike in blows} == {(c, a) for c in range(2) for a in range(3)}
    troubles = list(islice(spells(1, 2), 300))
    assert {spell.trouble for spell in troubles} == set(Trouble)
    assert any(spell.link.loss == 1.0 for spell in troubles), "there are black-outs"
    assert any(spell.link.jitter_secs for spell in troubles), "datagrams come out of order"


def test_most_blows_kill() -> None:
    kills = sum(strike.blow.kills for strike in islice(strikes(3, 2, 3), 200))
    assert kills >= 160


def test_a_clear_link_passes_everything_at_once() -> None:
    random = Random(1)
    assert all(CLEAR.arrivals(random) == (0.0,) for _ in range(100))


def test_a_bad_link_loses_doubles_and_delays_by_its_shares() -> None:
    random, link = Random(1), Link(loss=0.2, doubled=0.1, delay_secs=0.05, jitter_secs=0.01)
    arrivals = [link.arrivals(random) for _ in range(5_000)]
    copies = Counter(map(len, arrivals))
    assert 850 < copies[0] < 1_150
    assert 320 < copies[2] < 480
    assert all(0.05 <= delay <= 0.06 for each in arrivals for delay in each)
    first = [each[0] for each in arrivals if each]
    assert first != sorted(first), "later ones overtake"
