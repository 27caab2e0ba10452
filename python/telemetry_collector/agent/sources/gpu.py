"""NVIDIA GPUs through NVML, where there are any.

Without the driver's library there is nothing to read: that is said once and no error. What one device or driver does
not support is left out of its points. NVML is initialised in the thread that reads.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from telemetry_collector.agent.sources import counter, gauge, ratio
from telemetry_collector.observe.logs import logger
from telemetry_collector.sender import Point

log = logger(__name__)

DEVICES_MAX = 64


class GpuSource:
    """All devices; `usage` is that of the busiest at the last reading, negative while there is none."""

    name = "gpu"

    def __init__(self, nvml: Any = None) -> None:
        """`nvml` is the module pynvml, loaded late unless given."""
        self._nvml = nvml
        self._ready = False
        self._absent = False
        self.usage = -1.0

    def read(self) -> Iterator[Point]:
        if self._absent or not self._initialised():
            return
        nvml = self._nvml
        busiest = -1.0
        try:
            yield gauge("gpu.count", nvml.nvmlDeviceGetCount(), "{device}")
            for place in range(min(nvml.nvmlDeviceGetCount(), DEVICES_MAX)):
                device = nvml.nvmlDeviceGetHandleByIndex(place)
                tags = {
                    "gpu": str(place),
                    "uuid": _text(nvml.nvmlDeviceGetUUID(device)),
                    "model": _text(nvml.nvmlDeviceGetName(device)),
                }
                for point in self._device(device, tags):
                    if point.name == "gpu.utilization":
                        busiest = max(busiest, point.value)
                    yield point
        except nvml.NVMLError:
            # The driver may have been reloaded: the next reading starts over.
            self._ready = False
            raise
        finally:
            self.usage = busiest

    def _initialised(self) -> bool:
        if self._ready:
            return True
        if self._nvml is None:
            self._nvml = importlib.import_module("pynvml")
        try:
            self._nvml.nvmlInit()
        except (self._nvml.NVMLError_LibraryNotFound, self._nvml.NVMLError_DriverNotLoaded) as absent:
            self._absent = True
            log.info("gpu_absent", reason=str(absent))
            return False
        self._ready = True
        return True

    def _device(self, device: Any, tags: dict[str, str]) -> Iterator[Point]:
        nvml = self._nvml
        utilization = self._supported(nvml.nvmlDeviceGetUtilizationRates, device)
        if utilization is not None:
            yield gauge("gpu.utilization", utilization.gpu / 100, "1", **tags)
            yield gauge("gpu.memory.activity", utilization.memory / 100, "1", **tags)
        memory = self._supported(nvml.nvmlDeviceGetMemoryInfo, device)
        if memory is not None:
            yield gauge("gpu.memory.total", memory.total, "By", **tags)
            yield gauge("gpu.memory.used", memory.used, "By", **tags)
            yield gauge("gpu.memory.usage", ratio(memory.used, memory.total), "1", **tags)
        for name, unit, scale, read in self._readings():
            value = self._supported(read, device)
            if value is not None:
                yield gauge(name, value * scale, unit, **tags)
        energy = self._supported(nvml.nvmlDeviceGetTotalEnergyConsumption, device)
        if energy is not None:
            yield counter("gpu.energy", energy / 1_000, "J", **tags)

    def _readings(self) -> list[tuple[str, str, float, Callable[[Any], Any]]]:
        nvml = self._nvml
        return [
            ("gpu.temperature", "Cel", 1, lambda d: nvml.nvmlDeviceGetTemperature(d, nvml.NVML_TEMPERATURE_GPU)),
            ("gpu.power.draw", "W", 1e-3, nvml.nvmlDeviceGetPowerUsage),
            ("gpu.power.limit", "W", 1e-3, nvml.nvmlDeviceGetEnforcedPowerLimit),
            ("gpu.fan.speed", "1", 1e-2, nvml.nvmlDeviceGetFanSpeed),
            ("gpu.clock.sm", "Hz", 1e6, lambda d: nvml.nvmlDeviceGetClockInfo(d, nvml.NVML_CLOCK_SM)),
            ("gpu.clock.memory", "Hz", 1e6, lambda d: nvml.nvmlDeviceGetClockInfo(d, nvml.NVML_CLOCK_MEM)),
        ]

    def _supported(self, read: Callable[[Any], Any], device: Any) -> Any:
        try:
            return read(device)
        except (self._nvml.NVMLError_NotSupported, self._nvml.NVMLError_FunctionNotFound):
            return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
