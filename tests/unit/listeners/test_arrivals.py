"""Who may begin a handshake, in virtual time."""

import pytest

from telemetry_collector.listeners.quic_aioquic.arrivals import (
    ADDRESSES_MAX,
    BURST_SECS,
    UNPROVEN_PER_SEC,
    Arrivals,
    address_of,
)


def test_a_quarter_of_the_places_goes_without_proof() -> None:
    arrivals = Arrivals(handshakes_max=100, handshakes_per_address=100, per_address_per_sec=1_000)
    assert not arrivals.must_prove("a", 24, 0.0)
    assert arrivals.must_prove("a", 25, 0.0)


def test_a_quarter_of_an_addresss_share_goes_without_proof_and_ends_with_the_handshakes() -> None:
    arrivals = Arrivals(handshakes_max=1_000, handshakes_per_address=8, per_address_per_sec=1_000)
    ends = [arrivals.begin("a") for _ in range(2)]
    assert arrivals.must_prove("a", 2, 0.0)
    assert not arrivals.must_prove("b", 2, 0.0)
    for end in ends:
        end()
        end()
    assert not arrivals.must_prove("a", 0, 0.0)


def test_handshakes_that_leave_nothing_behind_cannot_be_begun_without_end() -> None:
    """From a new address each time, as forged ones are."""
    arrivals = Arrivals(handshakes_max=256, handshakes_per_address=64, per_address_per_sec=50)
    begun = 0
    for number in range(10_000):
        if arrivals.must_prove(f"a{number}", 0, 1.0):
            break
        assert arrivals.refusal(f"a{number}", proven=False, now=1.0) is None
        begun += 1
    assert begun == UNPROVEN_PER_SEC * BURST_SECS
    assert arrivals.refusal("b", proven=True, now=1.0) is None
    assert not arrivals.must_prove("b", 0, 2.0)


def test_forged_initials_leave_an_address_half_of_its_rate() -> None:
    arrivals = Arrivals(handshakes_max=256, handshakes_per_address=64, per_address_per_sec=10)
    proven = 0
    for tick in range(1_000):
        now = tick / 100
        for _ in range(3):
            if not arrivals.must_prove("victim", 0, now):
                assert arrivals.refusal("victim", proven=False, now=now) is None
        if tick % 10 == 0:
            assert arrivals.refusal("victim", proven=True, now=now) is None
            proven += 1
    assert proven == 100, "its whole rate, all the while"


def test_an_address_has_its_rate_and_its_handshakes() -> None:
    arrivals = Arrivals(handshakes_max=256, handshakes_per_address=3, per_address_per_sec=1)
    assert [arrivals.refusal("a", proven=True, now=0.0) for _ in range(3)] == [
        None,
        None,
        "too_many_connections_of_address",
    ]
    assert arrivals.refusal("b", proven=True, now=0.0) is None
    assert arrivals.refusal("a", proven=True, now=1.0) is None
    for _ in range(3):
        arrivals.begin("c")
    assert arrivals.refusal("c", proven=True, now=0.0) == "too_many_handshakes_of_address"


def test_addresses_are_forgotten_before_they_are_too_many() -> None:
    arrivals = Arrivals(handshakes_max=256, handshakes_per_address=64, per_address_per_sec=1)
    for number in range(2 * ADDRESSES_MAX):
        assert arrivals.refusal(f"a{number}", proven=True, now=0.0) is None
    assert len(arrivals._rates) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_an_address_is_what_one_host_cannot_choose(one: str, other: str, same: bool) -> None:
    assert (address_of(one) == address_of(other)) is same
