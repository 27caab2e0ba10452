"""The QUIC listener on aioquic, which works wherever Python does.

    datagrams   the socket: many datagrams a wake-up
    listener    the table of connections, timers, start and stop
    material    what the transport is made from: certificate, key, windows
    newcomers   first datagrams: who may begin, who must come again
    arrivals    how many may begin, of all and of an address
    shedding    the kernel's share in keeping a flood of them out
    retry       tokens that prove an address
    backlog     whose datagrams are handled next
    connection  who a peer is, its deadlines; no I/O below this line
    stream      frames to a conversation, replies back
    reset       what a peer is told whose connection is gone
    transport   aioquic's connection with the contract's limits and windows

aioquic's connection with client certificates verified is `security.mtls`, which probes need, too. Who else may import
aioquic stands in tests/architecture.
"""

from telemetry_collector.listeners.quic_aioquic.listener import QuicListener
from telemetry_collector.listeners.settings import Deadlines, QuicListenerSettings

__all__ = ["Deadlines", "QuicListener", "QuicListenerSettings"]
