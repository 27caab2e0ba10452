"""How large the bodies are that a destination is sent: smaller when it calls one too large, and slowly larger again.

A bound that a destination met once may have been that of a proxy that is gone, or of another destination behind the
same address. Growing back costs one body that is too large in GROWTH_AFTER, where the bound is still there.
"""

from __future__ import annotations

from typing import Final, final

BODY_BYTES_MIN: Final = 4096
"""Smaller ones are not tried: what does not pass then is refused."""
GROWTH_AFTER: Final = 256
"""So many bodies have to be accepted before larger ones are tried."""


@final
class BodySize:
    """One writer's."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max` is what it begins with and never goes beyond."""
        self._most = bytes_max
        self.bytes = bytes_max
        """Of the next body, before compression."""
        self._accepted = 0

    @property
    def is_least(self) -> bool:
        """Whether it cannot be smaller."""
        return self.bytes <= BODY_BYTES_MIN

    def too_large(self, size: int | None = None) -> None:
        """A body of so many bytes was too large; None: one of the present size."""
        self.bytes = max(min(self.bytes, (size or self.bytes) // 2), BODY_BYTES_MIN)
        self._accepted = 0

    def accepted(self) -> None:
        """A body was accepted."""
        if self.bytes == self._most:
            return
        self._accepted += 1
        if self._accepted >= GROWTH_AFTER:
            self._accepted = 0
            self.bytes = min(self.bytes + self.bytes // 4, self._most)
