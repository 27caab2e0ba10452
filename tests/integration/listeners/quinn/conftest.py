"""What only the listener on quinn shows."""

import pytest


@pytest.fixture
def transport() -> str:
    """The one that is tested here."""
    return "quinn"
