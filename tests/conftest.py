"""What tests of every kind ask for."""

import pytest
from tests.support.transports import TRANSPORTS

from telemetry_collector.sender import TransportName, settings


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """A value of `server.transport`: who asks for it runs once with each listener."""
    name: str = request.param
    return name


@pytest.fixture(params=["quinn", "aioquic"])
def sender_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TransportName:
    """What senders of this process use that are not told otherwise: the test runs once over each."""
    name: TransportName = request.param
    monkeypatch.setattr(settings, "TRANSPORT_DEFAULT", name)
    return name
