"""The node agent: reads the machine's metrics on a schedule and hands them to a `Sender`.

```text
Schedule ─► Sampler ─► points ─► batches ─► Sender ─► collector
             │ ▲ Shedding: which sources are worth reading now, by budgets and the collector's answers ◄──┘
             │ one thread a source; a source that fails or hangs costs only itself
             └─ cpu · memory · disk · network · host · gpu · processes · agent
                checks (monitors/) · peers: found on threads of their own, read like the others
door ◄─ services beside the agent, with `agent.sdk` or any client of the wire's row form
```

docs/metrics.md lists what is read.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telemetry_collector.agent.config import NodeAgentConfig
    from telemetry_collector.agent.node_agent import AgentStats, NodeAgent

__all__ = ["AgentStats", "NodeAgent", "NodeAgentConfig"]

_HOMES = {"AgentStats": "node_agent", "NodeAgent": "node_agent", "NodeAgentConfig": "config"}


def __getattr__(name: str) -> Any:
    """The agent is loaded when it is asked for: a service that imports `agent.sdk` needs nothing of it."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
