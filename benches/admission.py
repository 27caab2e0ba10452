"""From a frame's bytes to an admitted block, without network: the part of the core that runs on the event loop."""

from __future__ import annotations

import select
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Literal

from benches.figures import Figure
from benches.reference import NODE, POINTS, batch, series
from telemetry_collector import _core

ROUNDS = 5
FRAMES = 400
IN_FLIGHT = 8
"""As many as a new stream may have unanswered."""
COMMIT_SECS_MAX = 10.0

Form = Literal["row", "columnar"]


def measure() -> Iterator[Figure]:
    """Medians of several rounds, series known."""
    yield _figure("row", "row form, 5 tags: decode and admit", "ns a metric", 150)
    yield _figure("columnar", "columnar form: decode and admit", "ns a point", 15)


def _figure(form: Form, name: str, unit: str, goal: float) -> Figure:
    rounds = [_round(form) for _ in range(ROUNDS)]
    spread = f"{ROUNDS} × {FRAMES * POINTS:,} points, {min(rounds):.1f} to {max(rounds):.1f}"
    return Figure(name, statistics.median(rounds), unit, goal, spread=spread)


def _round(form: Form) -> float:
    """Nanoseconds a point. What is timed is `receive`; waiting for commits is not."""
    with tempfile.TemporaryDirectory() as directory:
        ingest = _core.Ingest(_core.IngestSettings(journal_dir=directory))
        try:
            return _feed(ingest, form)
        finally:
            ingest.close()


def _feed(ingest: _core.Ingest, form: Form) -> float:
    encoder = _core.FrameEncoder(form=form, compression="none")
    conversation = ingest.conversation(f"bench:{NODE}", NODE, relay=False)
    definitions = series()
    took_ns = 0
    for sequence in range(1, FRAMES + 2):
        now = time.time_ns()
        frame = encoder.frame(batch(now, definitions), sequence=sequence, epoch=1, oldest_unacknowledged=sequence)
        start = time.perf_counter_ns()
        conversation.receive(frame, now)
        if sequence > 1:  # the first one defines the series
            took_ns += time.perf_counter_ns() - start
        if conversation.pending >= IN_FLIGHT:
            _commit(ingest, conversation)
    _commit(ingest, conversation)
    refused = sum(ingest.stats()["points_refused"].values())
    assert not refused, f"{refused} points were refused; the figure would be about refusing"
    return took_ns / (FRAMES * POINTS)


def _commit(ingest: _core.Ingest, conversation: _core.Conversation) -> None:
    while conversation.pending:
        readable, _, _ = select.select([ingest.fileno()], [], [], COMMIT_SECS_MAX)
        assert readable, f"no commit within {COMMIT_SECS_MAX} s"
        ingest.ready()
        conversation.replies()
