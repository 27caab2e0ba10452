"""When checks are looked at, and whose failure a failure is, in virtual time."""

import asyncio
from collections.abc import Callable, Iterable

from tests.support.virtual_time import in_virtual_time

from telemetry_collector.agent.monitors.config import CheckConfig
from telemetry_collector.agent.monitors.outcome import CheckFailed, Finding, Outcome, Reason, State
from telemetry_collector.agent.monitors.watch import Watch


class Scripted:
    """Is up or down as it is told, and takes as long as it is told."""

    kind = target = "scripted"

    def __init__(self, *, up: bool = True, secs: float = 0.01) -> None:
        self.up = up
        self.secs = secs
        self.looks: list[float] = []

    async def look(self, finding: Finding) -> None:
        self.looks.append(asyncio.get_running_loop().time())
        finding.measure("scripted.look", len(self.looks), "1")
        await asyncio.sleep(self.secs)
        if not self.up:
            raise CheckFailed(Reason.CONNECT, "told to")


class Broken(Scripted):
    async def look(self, finding: Finding) -> None:
        await super().look(finding)
        raise ZeroDivisionError("a mistake of ours")


class Site:
    """Watches that run beside each other, and what became of each look."""

    def __init__(self, places: int = 8) -> None:
        self.places = asyncio.Semaphore(places)
        self.watches: dict[str, Watch] = {}
        self.told: list[tuple[str, Outcome | None, Outcome]] = []

    def watch(
        self, name: str, check: Scripted, *, needs: Iterable[str] = (), every: float = 10.0, timeout: float = 1.0
    ) -> Watch:
        config = CheckConfig(name=name, interval_secs=every, timeout_secs=timeout, depends_on=tuple(needs))
        self.watches[name] = Watch(
            config,
            check,
            [self.watches[each] for each in needs],
            places=self.places,
            on_outcome=lambda watch, before, now: self.told.append((watch.config.name, before, now)),
        )
        return self.watches[name]

    async def run(self, secs: float, at: float = 0.0, then: Callable[[], None] = lambda: None) -> None:
        """Lets time pass; something happens in it."""
        tasks = [asyncio.ensure_future(watch.run()) for watch in self.watches.values()]
        await asyncio.sleep(at)
        then()
        await asyncio.sleep(secs - at)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def states(self, name: str) -> list[State]:
        return [now.state for each, _, now in self.told if each == name]


def test_a_check_is_looked_at_once_an_interval_and_at_the_start() -> None:
    async def main() -> list[float]:
        site, check = Site(), Scripted()
        site.watch("a", check, every=10)
        await site.run(35)
        return [round(at) for at in check.looks]

    assert in_virtual_time(main()) == [0, 10, 20, 30]


def test_a_timeout_is_kept_and_what_was_found_before_it_is_told() -> None:
    async def main() -> Outcome:
        site, check = Site(), Scripted(secs=1_000)
        watch = site.watch("a", check, every=10, timeout=2)
        await site.run(5)
        assert watch.outcome is not None
        return watch.outcome

    outcome = in_virtual_time(main())
    assert (outcome.state, outcome.reason, round(outcome.secs, 3)) == (State.DOWN, Reason.TIMEOUT, 2.0)
    assert [measure.name for measure in outcome.measures] == ["scripted.look"]


def test_checks_that_hang_or_break_cost_the_others_nothing() -> None:
    async def main() -> tuple[Site, Scripted]:
        site, good = Site(), Scripted()
        site.watch("hangs", Scripted(secs=1_000), every=10, timeout=10)
        site.watch("breaks", Broken(), every=10)
        site.watch("good", good, every=1)
        await site.run(100)
        return site, good

    site, good = in_virtual_time(main())
    assert len(good.looks) == 100
    assert set(site.states("good")) == {State.UP}
    broken = [now for name, _, now in site.told if name == "breaks"]
    assert {now.reason for now in broken} == {Reason.FAULT}
    assert "a mistake of ours" in broken[0].detail
    assert len(broken) == 10


def test_only_so_many_are_under_way_at_a_time_and_waiting_does_not_count_as_their_time() -> None:
    async def main() -> Site:
        site = Site(places=2)
        for place in range(10):
            site.watch(f"c{place}", Scripted(secs=1), every=60, timeout=1.5)
        await site.run(4.5)
        return site

    site = in_virtual_time(main())
    assert len(site.told) == 8, "two a second"
    assert {now.state for _, _, now in site.told} == {State.UP}


def test_what_fails_with_its_dependency_is_blocked_even_if_that_was_up_when_last_looked_at() -> None:
    async def main() -> Site:
        site, database, api = Site(), Scripted(), Scripted()
        site.watch("database", database, every=1_000)
        site.watch("api", api, needs=["database"], every=10)

        def fall() -> None:
            database.up = api.up = False

        await site.run(25, at=5, then=fall)
        return site

    site = in_virtual_time(main())
    assert site.states("api") == [State.UP, State.BLOCKED, State.BLOCKED]
    assert site.states("database") == [State.UP, State.DOWN, State.DOWN]
    blocked = site.told[-1][2] if site.told[-1][0] == "api" else site.told[-2][2]
    assert blocked.dependencies == {"database": False}
    assert "depends on database" in blocked.detail


def test_what_fails_alone_is_down_although_its_dependency_was_down_a_moment_ago() -> None:
    async def main() -> Site:
        site, database, api = Site(), Scripted(up=False), Scripted(up=False)
        site.watch("database", database, every=1_000)
        site.watch("api", api, needs=["database"], every=10)

        def rise() -> None:
            database.up = True

        await site.run(15, at=5, then=rise)
        return site

    assert in_virtual_time(main()).states("api") == [State.BLOCKED, State.DOWN]


def test_what_is_up_although_its_dependency_is_down_is_up() -> None:
    async def main() -> Site:
        site = Site()
        site.watch("cache", Scripted(up=False), every=10)
        site.watch("api", Scripted(secs=0.5), needs=["cache"], every=10)
        await site.run(5)
        return site

    site = in_virtual_time(main())
    assert site.states("api") == [State.UP]
    assert site.watches["api"].outcome is not None
    assert site.watches["api"].outcome.dependencies == {"cache": False}


def test_a_chain_is_blocked_along_its_whole_length_and_a_shared_dependency_is_looked_at_once_for_all() -> None:
    async def main() -> tuple[Site, Scripted]:
        site, network = Site(), Scripted(up=False, secs=0.1)
        site.watch("network", network, every=1_000)
        for place in range(20):
            site.watch(f"db{place}", Scripted(up=False), needs=["network"], every=1_000)
            site.watch(f"api{place}", Scripted(up=False), needs=[f"db{place}"], every=1_000)
        await site.run(20)
        return site, network

    site, network = in_virtual_time(main())
    for place in range(20):
        assert set(site.states(f"db{place}")) == set(site.states(f"api{place}")) == {State.BLOCKED}
    # Each group of looks that began together asks once; places let eight at a time begin.
    assert len(network.looks) <= 1 + 2 * (41 // 8 + 1)


def test_an_outcome_tells_what_was_before() -> None:
    async def main() -> Site:
        site, check = Site(), Scripted()
        site.watch("a", check, every=10)

        def fall() -> None:
            check.up = False

        await site.run(35, at=15, then=fall)
        return site

    told = in_virtual_time(main()).told
    assert [(before.state if before else None, now.state) for _, before, now in told] == [
        (None, State.UP),
        (State.UP, State.UP),
        (State.UP, State.DOWN),
        (State.DOWN, State.DOWN),
    ]
