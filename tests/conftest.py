"""What tests of every kind ask for."""

import pytest
from tests.support.transports import TRANSPORTS


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """A value of `server.transport`: who asks for it runs once with each listener."""
    name: str = request.param
    return name
