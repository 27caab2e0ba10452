"""The metrics API for services: count here, and it arrives.

```text
increment, gauge, histogram, timing ─► Aggregation ─► Window (a cell a series)
        any thread, never waits                          │ every 10 s, or 1,000 points
                                       Flusher, a thread of its own ─► Sender ─► AgentSocket or Collectors
```

    from telemetry_collector.agent.sdk import MetricCollector

    metrics = MetricCollector("checkout")
    metrics.increment("orders.placed", tags={"country": "NL"})

docs/sdk.md teaches the rest. `asgi` and `wsgi` time a web service's requests, `otel` exports what OpenTelemetry
measures.
This package needs nothing of the node agent that it is part of, but for the arithmetic of sampling.
"""

from telemetry_collector.agent.sampling import Importance, Rule
from telemetry_collector.agent.sdk.collector import MetricCollector, MetricStats, Recorder
from telemetry_collector.agent.sdk.names import MetricMistake
from telemetry_collector.agent.sdk.routes import AgentSocket, Collectors
from telemetry_collector.agent.sdk.timer import Timer

__all__ = [
    "AgentSocket",
    "Collectors",
    "Importance",
    "MetricCollector",
    "MetricMistake",
    "MetricStats",
    "Recorder",
    "Rule",
    "Timer",
]
