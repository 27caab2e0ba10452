"""The section `api`, and HTTP_PORT before it."""

from __future__ import annotations

import pytest

from telemetry_collector.config import load
from telemetry_collector.config.api import Api
from telemetry_collector.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "addr", "port"),
    [
        ("9000", "10.0.0.1", 9000),
        (":9000", "10.0.0.1", 9000),
        (" :9000\n", "10.0.0.1", 9000),
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("0.0.0.0:9000", "0.0.0.0", 9000),
        ("[::1]:9000", "::1", 9000),
        ("0", "10.0.0.1", 0),
        ("", "10.0.0.1", None),
        ("  ", "10.0.0.1", None),
    ],
)
def test_the_environments_port_comes_before_the_documents(text: str, addr: str, port: int | None) -> None:
    config = load("api: {http_addr: 10.0.0.1, http_port: null}", {}, environ={"HTTP_PORT": text}, check_files=False)
    assert (config.api.http_addr, config.api.http_port) == (addr, port)
    assert config.sections["api"] == config.api


@pytest.mark.parametrize("text", ["off", ":", "http://x:1", "::1:9000", "-1", "70000", ":70000", "1.5", "a b:1", "٣"])
def test_what_is_no_port_is_told_with_the_variables_name(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Api().of_environment({"HTTP_PORT": text})
    assert str(caught.value).splitlines()[-1] == (
        f"the environment: HTTP_PORT = {text}: is no port; expected a port or an address, such as 8080, :8080 or "
        "127.0.0.1:8080"
    )


def test_by_default_only_this_machine_may_ask() -> None:
    config = load("", {}, environ={}, check_files=False)
    assert (config.api.http_addr, config.api.http_port) == ("127.0.0.1", 8080)
