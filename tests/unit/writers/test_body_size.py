"""How large bodies are that a destination called too large before."""

from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.writers.body_size import BODY_BYTES_MIN, GROWTH_AFTER, BodySize


def test_bodies_grow_back_to_what_was_configured_and_no_further() -> None:
    size = BodySize(100_000)
    for _ in range(3):
        size.too_large()
    assert size.bytes == 12_500
    for _ in range(GROWTH_AFTER - 1):
        size.accepted()
    assert size.bytes == 12_500, "it takes its time"
    size.accepted()
    assert size.bytes == 15_625
    for _ in range(20 * GROWTH_AFTER):
        size.accepted()
    assert size.bytes == 100_000


def test_a_bound_that_stays_costs_one_body_in_many() -> None:
    bound, size, refused, sent = 30_000, BodySize(100_000), 0, 0
    while sent < 100 * GROWTH_AFTER:
        sent += 1
        if size.bytes > bound:
            size.too_large()
            refused += 1
        else:
            size.accepted()
    assert refused <= 2 + sent / GROWTH_AFTER
    assert size.bytes > bound // 4


@given(st.integers(BODY_BYTES_MIN, 10**7), st.lists(st.none() | st.integers(1, 10**7)))
def test_it_stays_within_its_bounds(most: int, sizes: list[int | None]) -> None:
    size = BodySize(most)
    for too_large in sizes:
        before = size.bytes
        size.too_large(too_large)
        assert BODY_BYTES_MIN <= size.bytes <= before
    assert size.is_least is (size.bytes == BODY_BYTES_MIN)
