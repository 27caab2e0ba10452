"""All writers of the collector: started together, told of commits, made to give way and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import final

from telemetry_collector.pipeline.consumer import Consumer

# Where nobody keeps anything of the journal.
_NOBODY_KEEPS = 2**63 - 1
# How long consumers may take to give way; one that did not is asked again.
GIVE_WAY_SECS_MAX = 5.0
# What tasks that were cancelled may still take: a destination's directory or socket may hang as well as its answers.
CANCEL_SECS_MAX = 1.0


@final
class FanOut:
    """All consumers of the journal."""

    def __init__(self, consumers: Iterable[Consumer]) -> None:
        self.consumers = tuple(consumers)
        self._tasks: dict[Consumer, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Opens every writer, then starts their tasks on the running loop. A ConfigError names what is wrong."""
        for consumer in self.consumers:
            await consumer.open()
        for consumer in self.consumers:
            self._start(consumer)

    def committed(self) -> None:
        """More blocks may be readable."""
        for consumer in self.consumers:
            consumer.committed()

    async def add(self, consumer: Consumer) -> None:
        """Opens one more writer and starts its task. After a ConfigError it is closed and none of them."""
        try:
            await consumer.open()
        except BaseException:
            await consumer.close()
            raise
        self.run(consumer)

    def run(self, consumer: Consumer) -> None:
        """Starts the task of one more writer, which opens it, again and again if need be."""
        self.consumers = (*self.consumers, consumer)
        self._start(consumer)

    async def remove(self, consumer: Consumer, timeout_secs: float) -> bool:
        """Lets one consumer write what is committed, then ends it. True when it did not manage in time."""
        consumer.finish()
        late = await self._end((consumer,), timeout_secs)
        self._tasks.pop(consumer, None)
        self.consumers = tuple(each for each in self.consumers if each is not consumer)
        return bool(late)

    async def make_room(self, room_wanted: Callable[[int], int | None]) -> bool:
        """Makes consumers with `drop_oldest` give way where the journal wants room; True when one had to.

        `room_wanted` tells, for the position before which nobody else needs anything, how far they must. Nobody gives
        way when the room is held by one that does not: it would lose points and make no room.
        """
        kept = (consumer.stored for consumer in self.consumers if not consumer.drops_oldest)
        wanted = room_wanted(min(kept, default=_NOBODY_KEEPS))
        if wanted is None:
            return False
        late = [each for each in self.consumers if each.drops_oldest and each.stored < wanted]
        return any(await asyncio.gather(*(each.give_way(wanted, GIVE_WAY_SECS_MAX) for each in late)))

    async def stop(self, timeout_secs: float) -> list[str]:
        """Lets every consumer write what is committed; the names of those that did not manage in time. Idempotent, and
        safe before `start` or after it failed."""
        for consumer in self.consumers:
            consumer.finish()
            if consumer not in self._tasks:
                await consumer.close()
        return await self._end(self.consumers, timeout_secs)

    def _start(self, consumer: Consumer) -> None:
        self._tasks[consumer] = asyncio.create_task(consumer.run(), name=f"writer {consumer.name}")

    async def _end(self, consumers: Iterable[Consumer], timeout_secs: float) -> list[str]:
        tasks = {self._tasks[each]: each for each in consumers if each in self._tasks}
        if not tasks:
            return []
        _, late = await asyncio.wait(tasks, timeout=timeout_secs)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_SECS_MAX)
        return [tasks[task].name for task in late]
