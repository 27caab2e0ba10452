"""What checks look at."""

from collections.abc import AsyncIterator

import pytest
from tests.support.checked_server import serve


@pytest.fixture
async def server() -> AsyncIterator[str]:
    runner, port = await serve()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()
