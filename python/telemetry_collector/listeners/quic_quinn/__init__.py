"""The QUIC listener on quinn, in the Rust core: every processor serves connections, and no batch passes through Python.

listener  start, stop and reconfiguration; what happens there becomes counters and log lines here
material  certificates, keys and trust as the core takes them
"""

from telemetry_collector.listeners.quic_quinn.listener import QuinnListener

__all__ = ["QuinnListener"]
