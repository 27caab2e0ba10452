"""A client of the gRPC service as protoc generates one: messages and stubs that owe the collector's nothing."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from grpc_tools import protoc  # type: ignore[import-untyped]

PROTO = Path(__file__).parents[2] / "proto"
FILES = ("telemetry.proto", "telemetry_service.proto")


def _generate() -> tuple[ModuleType, ModuleType]:
    with tempfile.TemporaryDirectory(prefix="telemetry-grpc-") as directory:
        options = [f"--python_out={directory}", f"--grpc_python_out={directory}"]
        status = protoc.main(["protoc", f"-I{PROTO}", *options, *FILES])
        if status != 0:
            raise RuntimeError(f"protoc cannot compile {FILES}: exit status {status}")
        sys.path.insert(0, directory)
        try:
            return importlib.import_module("telemetry_service_pb2"), importlib.import_module(
                "telemetry_service_pb2_grpc"
            )
        finally:
            sys.path.remove(directory)


service: Any
stubs: Any
service, stubs = _generate()
"""`service.QueryMetricsRequest`, …, and `stubs.TelemetryServiceStub`, …"""

wire: Any = sys.modules["telemetry_pb2"]
"""`wire.MetricBatch`, …"""
