"""Fixtures of every room of tests."""

import pytest

from telemetry_collector.sender import TransportName, settings


@pytest.fixture(params=["quinn", "aioquic"])
def sender_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TransportName:
    """What senders of this process use that are not told otherwise: the test runs once over each."""
    name: TransportName = request.param
    monkeypatch.setattr(settings, "TRANSPORT_DEFAULT", name)
    return name
