"""A gRPC message that is small as it is sent, and enormous unpacked; no client would make it, so curl sends it."""

from __future__ import annotations

import asyncio
import resource
import zlib

UNPACKED_MIB = 512


def bomb() -> bytes:
    """A message with its prefix, packed with gzip."""
    packing = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    packed = b"".join(packing.compress(bytes(1 << 20)) for _ in range(UNPACKED_MIB)) + packing.flush()
    return b"\x01" + len(packed).to_bytes(4, "big") + packed


async def answer_to_bomb(address: str, method: str) -> tuple[str, int]:
    """Which `grpc-status` it is answered with, and by how many MiB this process's memory grew at its highest."""
    before = _peak_mib()
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--include", "--http2-prior-knowledge", "--max-time", "20",
        "-H", "Content-Type: application/grpc", "-H", "TE: trailers", "-H", "grpc-encoding: gzip",
        "--data-binary", "@-", f"http://{address}{method}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate(bomb())
    assert process.returncode == 0, error.decode()
    heads = dict(line.split(": ", 1) for line in out.decode(errors="replace").splitlines() if ": " in line)
    return heads["grpc-status"], _peak_mib() - before


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024
