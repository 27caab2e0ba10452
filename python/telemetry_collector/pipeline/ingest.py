"""Brings the Rust core into the event loop: streams and requests in, and a call when a commit made more readable.

The core signals an eventfd after each group commit. One reader on the loop takes the ids of the conversations whose
replies became due and calls each one's `ready`; then it tells whoever asked that more blocks are committed.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from typing import final

from telemetry_collector import _core
from telemetry_collector.pipeline.requests import Requests


@final
class Conversation:
    """One stream of one peer: the core's conversation, and whom to call when its replies became due."""

    __slots__ = ("__weakref__", "_core", "finish", "id", "ready", "receive", "replies")

    def __init__(self, core: _core.Conversation, ready: Callable[[], None]) -> None:
        self._core = core
        self.id = core.id
        self.ready = ready
        # Bound once: a call from a listener reaches Rust without another Python frame between.
        self.receive = core.receive
        self.replies = core.replies
        self.finish = core.finish

    @property
    def fault(self) -> int:
        """0, or the CloseCode that ends the stream or connection."""
        return self._core.fault

    @property
    def pending(self) -> int:
        """Batches received whose reply has not been taken."""
        return self._core.pending

    @property
    def mid_frame(self) -> bool:
        """A frame has begun and not ended."""
        return self._core.mid_frame

    @property
    def done(self) -> bool:
        """Nothing more will be replied: finish our side."""
        return self._core.done

    @property
    def frames(self) -> int:
        """Whole frames received."""
        return self._core.frames


@final
class Ingest:
    """The consumer that listeners are given. Attached to one event loop between `start` and `stop`."""

    def __init__(self, core: _core.Ingest, committed: Callable[[], None]) -> None:
        """`committed` is called on the loop after each wake-up, when more blocks may be readable."""
        self._core = core
        self._committed = committed
        # Weak: a conversation lives as long as its listener holds it, and an id that is gone needs no call.
        self._conversations: weakref.WeakValueDictionary[int, Conversation] = weakref.WeakValueDictionary()
        self._requests = Requests()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins to watch for commits, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._core.fileno(), self._on_commit)

    def stop(self) -> None:
        """Stops watching. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._core.fileno())
            self._loop = None

    def conversation(self, identity: str, node: str, *, relay: bool, ready: Callable[[], None]) -> Conversation:
        """A new stream of a peer; `ready` is called on the loop when replies became due."""
        conversation = Conversation(self._core.conversation(identity, node, relay=relay), ready)
        self._conversations[conversation.id] = conversation
        return conversation

    async def take(
        self, form: _core.RequestForm, body: bytes, encoding: str, *, identity: str, node: str, relay: bool
    ) -> _core.Request:
        """Takes a request of another protocol; returns it when its commits are known. RequestError refuses it whole."""

        def work() -> _core.Request:
            return self._core.take(
                form, body, encoding, identity=identity, node=node, relay=relay, now_unix_ns=time.time_ns()
            )

        return await self._requests.taken(work, len(body))

    def _on_commit(self) -> None:
        for identifier in self._core.ready():
            if self._requests.committed(identifier):
                continue
            conversation = self._conversations.get(identifier)
            if conversation is not None:
                conversation.ready()
        self._committed()
