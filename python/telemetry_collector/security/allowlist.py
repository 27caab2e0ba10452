"""Which identities may connect, and which of them may speak for any node."""

import re
from collections.abc import Iterable


class AllowList:
    """Patterns of identities. `*` stands for any text, the empty one too; every other character for itself."""

    def __init__(self, allowed: Iterable[str] = ("*",), relays: Iterable[str] = ()) -> None:
        """An empty `allowed` lets nobody in; being a relay does not let anybody in by itself."""
        self.allowed = tuple(allowed)
        """The patterns of who may connect."""
        self.relays = tuple(relays)
        """The patterns of who may speak for any node."""
        self._allowed = _compiled(self.allowed)
        self._relays = _compiled(self.relays)

    def allows(self, identity: str) -> bool:
        """Whether a peer of this identity may connect."""
        return self._allowed.fullmatch(identity) is not None

    def is_relay(self, identity: str) -> bool:
        """Whether it may speak for nodes that are not its own: lower collectors, gateways, the bench."""
        return self._relays.fullmatch(identity) is not None


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    # One automaton for all of them; runs of stars are one star, which keeps matching from backtracking over nothing.
    translated = [".*".join(re.escape(part) for part in re.split(r"\*+", pattern)) for pattern in patterns]
    return re.compile("|".join(f"(?:{pattern})" for pattern in translated) if translated else r"(?!)", re.DOTALL)
