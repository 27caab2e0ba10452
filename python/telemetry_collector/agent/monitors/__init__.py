"""Service monitors: whether the services of a node answer, how fast, and on what they depend.

```text
MonitorThread (a loop of its own) ─► Watch, one a check ─► http · tcp · process · command
                                        │ outcome
                                        ▼
              Sampler ─► ChecksSource ◄─ Board: the last outcome of each check
```

Checks run on an event loop of their own in a thread of their own: whatever one of them does, the agent's loop goes on.
The agent reads what they found as it reads every source.
"""

from telemetry_collector.agent.monitors.board import ChecksSource
from telemetry_collector.agent.monitors.config import MonitorsConfig
from telemetry_collector.agent.monitors.thread import MonitorThread

__all__ = ["ChecksSource", "MonitorThread", "MonitorsConfig"]
