"""A telemetry collector: node agents push metrics over QUIC with mutual TLS, and nothing acknowledged is lost.

Nothing happens at import, besides the choice of where Arrow takes memory from. `telemetry_collector.app` puts the parts
together, `telemetry_collector.cli` is what users start; which package may import which is written down, and checked, in
pyproject.toml.
"""

import os

# Arrow chooses where its memory comes from when it is loaded, and keeps to it. Its own pools hold on to what one row
# group took while the next one is made: compaction takes half as much again with them (docs/decisions/0013).
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


__version__ = "0.1.0"
