"""GPU metrics against a stand-in for NVML, and its absence."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.agent.test_sources import described, documented

from telemetry_collector.agent.sources.gpu import GpuSource


class Nvml:
    """Two devices, the second without a fan and an energy counter."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2

    class NVMLError(Exception): ...

    class NVMLError_LibraryNotFound(NVMLError): ...  # noqa: N801  # NVML's names

    class NVMLError_DriverNotLoaded(NVMLError): ...  # noqa: N801

    class NVMLError_NotSupported(NVMLError): ...  # noqa: N801

    class NVMLError_FunctionNotFound(NVMLError): ...  # noqa: N801

    def __init__(self) -> None:
        self.absent = False
        self.lost = False
        self.initialised = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self.absent:
            raise self.NVMLError_LibraryNotFound
        self.initialised += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if self.lost:
            raise self.NVMLError("GPU is lost")
        return 2

    def nvmlDeviceGetHandleByIndex(self, place: int) -> int:  # noqa: N802
        return place

    def nvmlDeviceGetUUID(self, device: int) -> str:  # noqa: N802
        return f"GPU-{device}"

    def nvmlDeviceGetName(self, _device: int) -> bytes:  # noqa: N802
        return b"H100"

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=25 + 50 * device, memory=10)

    def nvmlDeviceGetMemoryInfo(self, _device: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=80 << 30, used=20 << 30)

    def nvmlDeviceGetTemperature(self, _device: int, _sensor: int) -> int:  # noqa: N802
        return 60

    def nvmlDeviceGetPowerUsage(self, _device: int) -> int:  # noqa: N802
        return 350_500

    def nvmlDeviceGetEnforcedPowerLimit(self, _device: int) -> int:  # noqa: N802
        return 700_000

    def nvmlDeviceGetFanSpeed(self, device: int) -> int:  # noqa: N802
        if device:
            raise self.NVMLError_NotSupported
        return 40

    def nvmlDeviceGetClockInfo(self, _device: int, clock: int) -> int:  # noqa: N802
        return 1_980 if clock == self.NVML_CLOCK_SM else 2_619

    def nvmlDeviceGetTotalEnergyConsumption(self, device: int) -> int:  # noqa: N802
        if device:
            raise self.NVMLError_NotSupported
        return 12_000_000


def test_devices_are_read_in_base_units() -> None:
    source = GpuSource(Nvml())
    points = list(source.read())
    first = {point.name: point.value for point in points if dict(point.tags).get("gpu") == "0"}
    assert first == {
        "gpu.utilization": 0.25,
        "gpu.memory.activity": 0.1,
        "gpu.memory.total": 80 << 30,
        "gpu.memory.used": 20 << 30,
        "gpu.memory.usage": 0.25,
        "gpu.temperature": 60,
        "gpu.power.draw": 350.5,
        "gpu.power.limit": 700,
        "gpu.fan.speed": 0.4,
        "gpu.clock.sm": 1.98e9,
        "gpu.clock.memory": 2.619e9,
        "gpu.energy": 12_000,
    }
    assert source.usage == 0.75
    assert points[1].tags == (("gpu", "0"), ("uuid", "GPU-0"), ("model", "H100"))


def test_points_are_as_documented() -> None:
    points = {point.name: described(point) for point in GpuSource(Nvml()).read()}
    assert points == {name: row for name, row in documented().items() if name.startswith("gpu.")}


def test_what_a_device_does_not_support_is_left_out() -> None:
    second = {point.name for point in GpuSource(Nvml()).read() if dict(point.tags).get("gpu") == "1"}
    assert "gpu.power.draw" in second
    assert second.isdisjoint({"gpu.fan.speed", "gpu.energy"})


def test_without_the_driver_there_is_nothing_and_no_error() -> None:
    nvml = Nvml()
    nvml.absent = True
    source = GpuSource(nvml)
    assert list(source.read()) == []
    nvml.absent = False
    assert list(source.read()) == []
    assert nvml.initialised == 0, "it is asked once"
    assert source.usage == -1.0


def test_a_lost_driver_is_an_error_and_found_again() -> None:
    nvml = Nvml()
    source = GpuSource(nvml)
    list(source.read())
    nvml.lost = True
    with pytest.raises(Nvml.NVMLError, match="lost"):
        list(source.read())
    assert source.usage == -1.0
    nvml.lost = False
    assert list(source.read())
    assert nvml.initialised == 2
