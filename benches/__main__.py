"""`python -m benches [PART…]`: measures and prints a table, of all parts unless some are named.

stages, wire, sdk, hotpath, lanes, requests, load, listener, fleet, flood, reliability, workers: docs/benchmarks.md
tells what each is.
"""

import sys
from collections.abc import Callable, Iterator

from benches import fleet, flood, hotpath, lanes, listener, load, reliability, requests, sdk, stages, wire, workers
from benches.figures import Figure, show

PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "stages": stages.measure,
    "wire": wire.measure,
    "sdk": sdk.measure,
    "hotpath": hotpath.measure,
    "lanes": lanes.measure,
    "requests": requests.measure,
    "load": load.measure,
    "listener": listener.measure,
    "fleet": fleet.measure,
    "flood": flood.measure,
    "reliability": reliability.measure,
    "workers": workers.measure,
}


def main() -> None:
    """Measures the parts that are named."""
    named = sys.argv[1:] or list(PARTS)
    if unknown := set(named) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    show(figure for name in named for figure in PARTS[name]())


if __name__ == "__main__":
    main()
