"""Memory and swap."""

from collections.abc import Iterator

import psutil

from telemetry_collector.agent.sources import counter, gauge, ratio
from telemetry_collector.sender import Point


class MemorySource:
    """`used` is what is not available without swapping; caches count as available."""

    name = "memory"

    def read(self) -> Iterator[Point]:
        memory = psutil.virtual_memory()
        used = memory.total - memory.available
        yield gauge("system.memory.total", memory.total, "By")
        yield gauge("system.memory.available", memory.available, "By")
        yield gauge("system.memory.used", used, "By")
        yield gauge("system.memory.free", memory.free, "By")
        yield gauge("system.memory.usage", ratio(used, memory.total), "1")
        for part in ("buffers", "cached", "shared", "slab"):
            value = getattr(memory, part, None)
            if value is not None:
                yield gauge(f"system.memory.{part}", value, "By")
        swap = psutil.swap_memory()
        yield gauge("system.swap.total", swap.total, "By")
        yield gauge("system.swap.used", swap.used, "By")
        yield gauge("system.swap.free", swap.free, "By")
        yield gauge("system.swap.usage", ratio(swap.used, swap.total), "1")
        yield counter("system.swap.in", swap.sin, "By")
        yield counter("system.swap.out", swap.sout, "By")


def memory_usage() -> float:
    """The share of physical memory that is in use, from 0 to 1."""
    memory = psutil.virtual_memory()
    return ratio(memory.total - memory.available, memory.total)
