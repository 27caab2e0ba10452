"""Who may begin a handshake, decided before any state is made or any key computed.

    an Initial ─► all places taken? ─► an address to be proven first? ─► too many of its address? ─► a connection

A handshake costs some milliseconds, an Initial whose source is forged costs its sender nothing. So when it gets crowded
newcomers are told to come again with a token (Retry), which costs microseconds and no memory; who comes back has proven
that it is where it says. Only then may the bounds of an address be held against it: nobody can use up another's.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable

CROWDED_SHARE = 4
"""Addresses are to be proven when one in so many places is taken, of all or of an address'."""

KEPT_SHARE = 0.5
"""So much of what an address may begin is kept for those who have proven that they are there."""

UNPROVEN_PER_SEC = 100
"""New connections a second, over all addresses, that need no proof: some percent of a processor."""

BURST_SECS = 2.0
"""So many seconds' worth of new connections may come at once."""

ADDRESSES_MAX = 10_000
"""Addresses whose rate is remembered. Of more, the one not heard of for longest is forgotten, and starts afresh."""


class Arrivals:
    """Bounds on handshakes under way and on new connections a second, in all and for each address."""

    def __init__(self, handshakes_max: int, handshakes_per_address: int, per_address_per_sec: int) -> None:
        self._handshakes_max = handshakes_max
        self._per_address_max = handshakes_per_address
        self._per_address_per_sec = per_address_per_sec
        self._under_way: dict[str, int] = {}
        self._rates: OrderedDict[str, _Allowance] = OrderedDict()
        self._unproven = _Allowance(UNPROVEN_PER_SEC, 0.0)

    def must_prove(self, address: str, under_way: int, now: float) -> bool:
        """Whether newcomers from an address are sent away for a token, given how many handshakes are under way."""
        return (
            under_way * CROWDED_SHARE >= self._handshakes_max
            or self._under_way.get(address, 0) * CROWDED_SHARE >= self._per_address_max
            or not self._unproven.any_left(now)
            or self._is_kept(address, now)
        )

    def _is_kept(self, address: str, now: float) -> bool:
        """Whether what an address may still begin is for the proven: forged Initials leave no handshake behind, and
        would use up all of it in another's name."""
        rate = self._rates.get(address)
        return rate is not None and not rate.any_left(now, beside=KEPT_SHARE)

    def refusal(self, address: str, *, proven: bool, now: float) -> str | None:
        """Why nothing more may begin from an address at the moment; None when it may, which is then counted."""
        if self._under_way.get(address, 0) >= self._per_address_max:
            return "too_many_handshakes_of_address"
        rate = self._rates.get(address)
        if rate is None:
            if len(self._rates) >= ADDRESSES_MAX:
                self._rates.popitem(last=False)
            rate = self._rates[address] = _Allowance(self._per_address_per_sec, now)
        else:
            self._rates.move_to_end(address)
        if not rate.any_left(now):
            return "too_many_connections_of_address"
        rate.spend()
        if not proven:
            self._unproven.spend()
        return None

    def begin(self, address: str) -> Callable[[], None]:
        """A handshake is under way from now until what is returned is called; more than once does no harm."""
        self._under_way[address] = self._under_way.get(address, 0) + 1
        ended = False

        def end() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            left = self._under_way[address] - 1
            if left:
                self._under_way[address] = left
            else:
                del self._under_way[address]

        return end


class _Allowance:
    """A token bucket, full at first."""

    __slots__ = ("_at", "_per_sec", "_tokens", "_tokens_max")

    def __init__(self, per_sec: float, now: float) -> None:
        self._per_sec = per_sec
        self._tokens = self._tokens_max = max(per_sec * BURST_SECS, 1.0)
        self._at = now

    def any_left(self, now: float, *, beside: float = 0.0) -> bool:
        """Whether there is one more than the share of the whole bucket that is to stay."""
        self._tokens = min(self._tokens + (now - self._at) * self._per_sec, self._tokens_max)
        self._at = now
        return self._tokens - beside * self._tokens_max >= 1.0

    def spend(self) -> None:
        self._tokens -= 1.0


def address_of(host: str) -> str:
    """What counts as one address: all of IPv4, the network's half of IPv6, whose other half a host chooses itself."""
    if "." in host:
        # Perhaps behind ::ffff:, where one socket takes both.
        return host.rpartition(":")[2]
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8].hex()
