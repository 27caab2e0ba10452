"""How clients share what there is only so much of.

A client may hold as much as it leaves free: what it holds with what it asks for is at most what nobody holds then. So
one alone has half of it, two have a third each, and however many there are, a newcomer finds as much free as any of
them has.
"""

from __future__ import annotations

from typing import final


def fits(own: int, taken: int, most: int, more: int) -> bool:
    """Whether a client that holds `own` of what is `taken` by all may have so much more of `most`."""
    return own + more <= most - taken - more


@final
class Shares:
    """Things that are counted, such as connections: so many at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        # Those that hold something: no more than there are things.
        self._clients: dict[str, int] = {}

    @property
    def taken(self) -> int:
        """What all clients hold."""
        return self._taken

    def take(self, client: str) -> bool:
        """Takes one; False when there is none for this client, and nothing has changed."""
        own = self._clients.get(client, 0)
        if not fits(own, self._taken, self._most, 1):
            return False
        self._clients[client] = own + 1
        self._taken += 1
        return True

    def give_back(self, client: str) -> bool:
        """Ends what `take` began; whether the client still holds another."""
        self._taken -= 1
        own = self._clients[client] - 1
        if own:
            self._clients[client] = own
        else:
            del self._clients[client]
        return own > 0
