"""Brings the core of the data plane into the event loop: requests as `requests` has it, and streams.

Among the ids that became due are those of conversations with replies: each one's `ready` is called.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import final

from telemetry_collector import _core
from telemetry_collector.pipeline.requests import RequestIngest


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
class Ingest(RequestIngest):
    """The consumer that listeners are given: of streams, too."""

    def __init__(self, core: _core.Ingest, committed: Callable[[], None]) -> None:
        """`committed` is called on the loop after each wake-up, when more blocks may be readable."""
        super().__init__(core, committed)
        self._streams = core
        # Weak: a conversation lives as long as its listener holds it, and an id that is gone needs no call.
        self._conversations: weakref.WeakValueDictionary[int, Conversation] = weakref.WeakValueDictionary()

    def conversation(self, identity: str, node: str, *, relay: bool, ready: Callable[[], None]) -> Conversation:
        """A new stream of a peer; `ready` is called on the loop when replies became due."""
        conversation = Conversation(self._streams.conversation(identity, node, relay=relay), ready)
        self._conversations[conversation.id] = conversation
        return conversation

    def _due(self, identifier: int) -> None:
        conversation = self._conversations.get(identifier)
        if conversation is not None:
            conversation.ready()
