"""The node agent: reads the machine's metrics on a schedule and hands them to a `Sender`.

```text
Schedule ─► Sampler ─► points ─► batches ─► Sender ─► collector
             │ ▲ Shedding: which sources are worth reading now, by budgets and the collector's answers ◄──┘
             │ one thread a source; a source that fails or hangs costs only itself
             └─ cpu · memory · disk · network · host · gpu · processes · agent
                checks (monitors/) · peers: found on threads of their own, read like the others
```

docs/metrics.md lists what is read.
"""

from telemetry_collector.agent.config import NodeAgentConfig
from telemetry_collector.agent.node_agent import AgentStats, NodeAgent

__all__ = ["AgentStats", "NodeAgent", "NodeAgentConfig"]
