"""The bounds on open connections."""

from collections import Counter


class Slots:
    """Permits for connections: so many are out at a time, and of one identity so many (None: no bound)."""

    def __init__(self, slots_max: int, per_identity_max: int | None = None) -> None:
        self.slots_max = slots_max
        self.per_identity_max = per_identity_max
        self.taken = 0
        self._by_identity: Counter[str] = Counter()

    def take(self, identity: str) -> str | None:
        """Takes one; else the reason why there is none left."""
        if self.taken >= self.slots_max:
            return "too_many_connections"
        if self.per_identity_max is not None and self._by_identity[identity] >= self.per_identity_max:
            return "too_many_connections_of_identity"
        self.taken += 1
        self._by_identity[identity] += 1
        return None

    def give_back(self, identity: str) -> None:
        """The holder is gone."""
        self.taken -= 1
        self._by_identity[identity] -= 1
        if not self._by_identity[identity]:
            del self._by_identity[identity]
