"""A telemetry collector: node agents push metrics over QUIC with mutual TLS, and nothing acknowledged is lost.

Nothing happens at import. `telemetry_collector.app` puts the parts together, `telemetry_collector.cli` is what users
start; which package may import which is written down, and checked, in pyproject.toml.
"""

__version__ = "0.1.0"
