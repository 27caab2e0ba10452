"""Whether a port accepts connections."""

import asyncio

from telemetry_collector.agent.monitors.calls import Calls, addresses
from telemetry_collector.agent.monitors.config import TcpCheckConfig
from telemetry_collector.agent.monitors.outcome import CheckFailed, Finding, Reason


class TcpCheck:
    """Connects, and closes at once. A name's addresses are tried one by one, each for its share of the time."""

    kind = "tcp"

    def __init__(self, config: TcpCheckConfig, calls: Calls) -> None:
        self.target = str(config.address)
        self._address = config.address
        self._timeout_secs = config.timeout_secs
        self._calls = calls

    async def look(self, finding: Finding) -> None:
        """See Check."""
        del finding
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._timeout_secs
        problem = f"{self.target} has no address"
        found = await addresses(self._calls, self._address.host, self._address.port)
        for left, (_, host) in zip(range(len(found), 0, -1), found, strict=True):
            # One that never answers must not keep the others from being tried; the last has what the watch allows.
            share_secs = (ends - loop.time()) / left if left > 1 else None
            try:
                async with asyncio.timeout(share_secs):
                    _, writer = await asyncio.open_connection(host, self._address.port)
            except TimeoutError:
                problem = f"{host} does not answer"
            except OSError as error:
                problem = f"cannot connect to {host}: {error.strerror or error}"
            else:
                writer.transport.abort()
                return
        raise CheckFailed(Reason.CONNECT, problem)
