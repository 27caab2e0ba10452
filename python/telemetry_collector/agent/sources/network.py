"""Network interfaces."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import psutil

from telemetry_collector.agent.sources import counter
from telemetry_collector.sender import Point

INTERFACES_MAX = 128


class NetworkSource:
    """The totals of each interface."""

    name = "network"

    def __init__(self, *, exclude: Sequence[str] = ()) -> None:
        self._exclude = tuple(exclude)

    def read(self) -> Iterator[Point]:
        interfaces = psutil.net_io_counters(pernic=True, nowrap=True)
        read = [name for name in sorted(interfaces) if not self._excluded(name)]
        for name in read[:INTERFACES_MAX]:
            io = interfaces[name]
            for direction, octets, packets, errors, dropped in (
                ("receive", io.bytes_recv, io.packets_recv, io.errin, io.dropin),
                ("transmit", io.bytes_sent, io.packets_sent, io.errout, io.dropout),
            ):
                yield counter(f"system.network.{direction}.bytes", octets, "By", interface=name)
                yield counter(f"system.network.{direction}.packets", packets, "{packet}", interface=name)
                yield counter(f"system.network.{direction}.errors", errors, "{error}", interface=name)
                yield counter(f"system.network.{direction}.dropped", dropped, "{packet}", interface=name)

    def _excluded(self, interface: str) -> bool:
        return any(fnmatchcase(interface, pattern) for pattern in self._exclude)
