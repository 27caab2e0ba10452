"""The collector's listeners, one for each value of `server.transport`: what is promised of one is tested of each."""

from importlib.util import find_spec

TRANSPORTS = ("aioquic", "quinn") if find_spec("telemetry_collector.listeners.quic_quinn") else ("aioquic",)


def transport_key(transport: str) -> dict[str, str]:
    """What the section `server` has of it."""
    return {"transport": transport} if len(TRANSPORTS) > 1 else {}
