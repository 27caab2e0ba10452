"""Ports of this machine, for whoever starts a collector of its own to look at it."""

import socket


def free_port(kind: socket.SocketKind) -> int:
    """A port of loopback that nobody has at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
