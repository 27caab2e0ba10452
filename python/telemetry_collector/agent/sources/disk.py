"""File systems and block devices."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import psutil

from telemetry_collector.agent.sources import counter, gauge, ratio
from telemetry_collector.sender import Point

FILE_SYSTEMS_MAX = 128
"""Mounted file systems that are read; containers' hosts may have thousands of them."""

DEVICES_MAX = 256


class DiskSource:
    """File systems on devices of their own, each device once, and the totals of block devices."""

    name = "disk"

    def __init__(self, *, exclude: Sequence[str] = ()) -> None:
        self._exclude = tuple(exclude)

    def read(self) -> Iterator[Point]:
        yield from self._file_systems()
        yield from self._devices()

    def _file_systems(self) -> Iterator[Point]:
        seen: set[str] = set()
        for mounted in psutil.disk_partitions(all=False):
            device = mounted.device.removeprefix("/dev/")
            # The same device mounted again (bind mounts) is the same space.
            if device in seen or len(seen) >= FILE_SYSTEMS_MAX or self._excluded(device):
                continue
            seen.add(device)
            try:
                status = os.statvfs(mounted.mountpoint)
            except PermissionError:
                continue  # someone's own mount
            # As df does it: what only root may fill is neither free nor counted in the usage.
            total = status.f_blocks * status.f_frsize
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            free = status.f_bavail * status.f_frsize
            tags = {"device": device, "mountpoint": mounted.mountpoint, "fstype": mounted.fstype}
            yield gauge("system.disk.total", total, "By", **tags)
            yield gauge("system.disk.used", used, "By", **tags)
            yield gauge("system.disk.free", free, "By", **tags)
            yield gauge("system.disk.usage", ratio(used, used + free), "1", **tags)
            inodes_used = status.f_files - status.f_ffree
            yield gauge("system.disk.inodes.usage", ratio(inodes_used, status.f_files), "1", **tags)

    def _devices(self) -> Iterator[Point]:
        devices = psutil.disk_io_counters(perdisk=True, nowrap=True) or {}
        read = [name for name in sorted(devices) if not self._excluded(name)]
        for name in read[:DEVICES_MAX]:
            io = devices[name]
            yield counter("system.disk.read.bytes", io.read_bytes, "By", device=name)
            yield counter("system.disk.write.bytes", io.write_bytes, "By", device=name)
            yield counter("system.disk.read.operations", io.read_count, "{operation}", device=name)
            yield counter("system.disk.write.operations", io.write_count, "{operation}", device=name)
            yield counter("system.disk.read.time", io.read_time / 1_000, "s", device=name)
            yield counter("system.disk.write.time", io.write_time / 1_000, "s", device=name)
            busy = getattr(io, "busy_time", None)
            if busy is not None:
                yield counter("system.disk.busy.time", busy / 1_000, "s", device=name)

    def _excluded(self, device: str) -> bool:
        return any(fnmatchcase(device, pattern) for pattern in self._exclude)
