"""Which batches of services were taken, by the names that services gave them, and which must not be any more."""

from collections import OrderedDict
from dataclasses import dataclass, field

EPOCHS_MAX = 1_024
"""Services' lives whose last batches are remembered; the one not heard of for longest is forgotten."""
NAMES_MAX = 64
"""Batches remembered of each, more than it may have unanswered."""
WITHDRAWN = 0
"""Instead of a sequence: its service took the name back before the batch came. No batch is called so."""
SETTLED = -1
"""Instead of a sequence: its service has the answer already, and what came is a copy that was read late."""

ServiceName = tuple[int, int]
"""Epoch and sequence, as the service has them."""


@dataclass(slots=True)
class _Life:
    floor: int = 0
    """Lower sequences are settled."""
    taken: dict[int, int] = field(default_factory=dict)


class TakenNames:
    """The agent's own sequences of services' batches, so that none is sent twice."""

    def __init__(self) -> None:
        self._lives: OrderedDict[int, _Life] = OrderedDict()
        self._names: dict[int, ServiceName] = {}  # the other way round

    def taken(self, name: ServiceName | None, oldest_unacknowledged: int) -> int | None:
        """The agent's sequence of a batch that came before, or WITHDRAWN, or SETTLED. Forgets what is settled now."""
        if name is None:
            return None
        epoch, sequence = name
        life = self._lives.get(epoch)
        if life is None:
            return None
        self._lives.move_to_end(epoch)
        life.floor = max(life.floor, oldest_unacknowledged)
        for settled in [one for one in life.taken if one < life.floor]:
            self._names.pop(life.taken.pop(settled), None)
        return SETTLED if sequence < life.floor else life.taken.get(sequence)

    def has_room(self, name: ServiceName | None, oldest_unacknowledged: int) -> bool:
        """Whether another batch of its epoch can be remembered. The oldest always can: names are forgotten below it."""
        if name is None or name[1] == oldest_unacknowledged:
            return True
        life = self._lives.get(name[0])
        return life is None or len(life.taken) < NAMES_MAX

    def take(self, name: ServiceName | None, sequence: int) -> None:
        """Remembers a batch that was taken, or that is WITHDRAWN."""
        if name is None:
            return
        self._lives.setdefault(name[0], _Life()).taken[name[1]] = sequence
        self._lives.move_to_end(name[0])
        if sequence != WITHDRAWN:
            self._names[sequence] = name
        if len(self._lives) > EPOCHS_MAX:
            _, forgotten = self._lives.popitem(last=False)
            for one in forgotten.taken.values():
                self._names.pop(one, None)

    def forget(self, sequence: int) -> None:
        """The batch that the agent has under this sequence is not kept after all: it may come again."""
        name = self._names.pop(sequence, None)
        if name is not None:
            del self._lives[name[0]].taken[name[1]]
