"""Whether a port accepts connections."""

import asyncio

from telemetry_collector.agent.monitors.calls import Calls, addresses
from telemetry_collector.agent.monitors.config import TcpCheckConfig
from telemetry_collector.agent.monitors.outcome import CheckFailed, Finding, Reason


class TcpCheck:
    """Connects, and closes at once. A name's addresses are tried one after the other."""

    kind = "tcp"

    def __init__(self, config: TcpCheckConfig, calls: Calls) -> None:
        self.target = str(config.address)
        self._address = config.address
        self._calls = calls

    async def look(self, finding: Finding) -> None:
        """See Check."""
        del finding
        problem = f"{self.target} has no address"
        for _, host in await addresses(self._calls, self._address.host, self._address.port):
            try:
                _, writer = await asyncio.open_connection(host, self._address.port)
            except OSError as error:
                problem = f"cannot connect to {host}: {error.strerror or error}"
            else:
                writer.transport.abort()
                return
        raise CheckFailed(Reason.CONNECT, problem)
