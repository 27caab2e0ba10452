"""The bound on open connections."""


class Slots:
    """Permits for connections: so many are out at a time."""

    def __init__(self, slots_max: int) -> None:
        self.slots_max = slots_max
        self.taken = 0

    def take(self) -> bool:
        """Whether there was one left."""
        if self.taken >= self.slots_max:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """The holder is gone."""
        self.taken -= 1
