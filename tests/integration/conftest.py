"""What tests of several doors share."""

import pytest

from telemetry_collector.security.authority import Authority, Files, set_up


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """An authority, a collector's certificate, and those of node-1 and node-2. Who changes any makes its own."""
    directory = tmp_path_factory.mktemp("certs")
    files = set_up(directory, node="node-1")
    Authority.open(directory).issue_node("node-2")
    return files
