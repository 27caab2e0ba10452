"""Certificates of a collector, of another host, of a node, and of another authority."""

from pathlib import Path

import pytest

from telemetry_collector.security.authority import Authority


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["localhost", "127.0.0.1", "::1"], file="server")
    authority.issue_server("elsewhere", ["elsewhere.example"])
    authority.issue_node("node-1", dns=["localhost"])
    Authority.create(directory / "other")[0].issue_server("collector", ["localhost", "127.0.0.1"], file="server")
    return directory
