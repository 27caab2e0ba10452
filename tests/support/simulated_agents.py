"""Simulated agents of the core for tests, with prepared batches."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from telemetry_collector import _core
from telemetry_collector._core import Batch, FrameEncoder
from telemetry_collector.sender.over_quinn import credentials

UNANSWERED = 0xFFFF_FFFF
"""In `acknowledged`: a batch without a final answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedAgent:
    """One of them, and what it sends over and over."""

    cert_path: Path
    key_path: Path
    ca_path: Path
    batches: Sequence[Batch]
    """Sent in turn: sequence s is `batches[(s - 1) % len(batches)]`."""
    epoch: int = 1


def start(
    host: str,
    port: int,
    agents: Sequence[SimulatedAgent],
    *,
    server_name: str,
    batches_per_sec: float | None = None,
    form: Literal["columnar", "row"] = "columnar",
    compression: Literal["none", "gzip", "zstd"] = "zstd",
    inflight_max: int = 1_024,
    datagram_bytes_max: int = 1_200,
) -> _core.QuicLoad:
    """Encodes every batch and begins to connect; `_core.QuicLoad` says what can be done then.

    Raises CertificateError that names the file, EncodeError for a batch that fits in no frame.
    """
    return _core.QuicLoad(
        host,
        port,
        server_name=server_name,
        agents=[
            (
                credentials(each.cert_path, each.key_path, each.ca_path),
                each.epoch,
                *frames(each.batches, form, compression),
            )
            for each in agents
        ],
        batches_per_sec=batches_per_sec,
        inflight_max=inflight_max,
        datagram_bytes_max=datagram_bytes_max,
    )


def frames(
    batches: Sequence[Batch], form: Literal["columnar", "row"], compression: Literal["none", "gzip", "zstd"]
) -> tuple[list[bytes], list[bytes]]:
    """The frames of one stream: those of the first turn, which define series, and those of every later one."""
    encoder = FrameEncoder(form=form, compression=compression)
    turns = [[encoder.frame(batch, sequence=1, epoch=1) for batch in batches] for _ in range(2)]
    return turns[0], turns[1]


def acknowledged(load: _core.QuicLoad) -> list[array[int]]:
    """For each agent the points on stable storage by sequence, from 1 on; UNANSWERED where there is no final answer."""
    return [array("I", each) for each in load.acknowledged()]
