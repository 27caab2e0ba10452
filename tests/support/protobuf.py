"""The wire's messages as protobuf's own Python code has them: an implementation that owes ours nothing.

Made from proto/telemetry.proto when this module is first imported, into a directory that lives as long as the process.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from grpc_tools import protoc  # type: ignore[import-untyped]

PROTO = Path(__file__).parents[2] / "proto" / "telemetry.proto"


def _generate() -> ModuleType:
    with tempfile.TemporaryDirectory(prefix="telemetry-protobuf-") as directory:
        status = protoc.main(["protoc", f"-I{PROTO.parent}", f"--python_out={directory}", str(PROTO)])
        if status != 0:
            raise RuntimeError(f"protoc cannot compile {PROTO}: exit status {status}")
        spec = importlib.util.spec_from_file_location("telemetry_pb2", Path(directory) / "telemetry_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module


pb: Any = _generate()
"""The generated module: `pb.MetricBatch`, `pb.BatchAck`, …"""


def framed(message: Any) -> bytes:
    """A message with its length in front."""
    body: bytes = message.SerializeToString()
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Cuts a stream's bytes into the bodies of its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        bodies = []
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[4:end]))
            del self._buffer[:end]
        return bodies
