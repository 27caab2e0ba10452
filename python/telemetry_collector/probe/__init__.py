"""Probes from node to node: how long the way there and back takes, and how much gets lost on it.

```text
burst ═ QUIC, mutual TLS, ALPN telemetry-probe/1 ═► EchoEndpoint
   ◄═ the same datagrams ════════════════════════════╝
```

QUIC's datagrams are used (RFC 9221), because nobody sends those again: what does not come back was lost. Both sides
show the certificates that they show to collectors, and both must be nodes'. There are no streams.
"""

from telemetry_collector.probe.burst import Burst, probe
from telemetry_collector.probe.echo import EchoEndpoint, EchoEvents
from telemetry_collector.probe.material import Material
from telemetry_collector.probe.measurement import Failure, Measurement

__all__ = ["Burst", "EchoEndpoint", "EchoEvents", "Failure", "Material", "Measurement", "probe"]
