"""The `agent` section."""

import pytest

from telemetry_collector import _core
from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.config import Address, load_agent
from telemetry_collector.errors import ConfigError


def load(text: str) -> NodeAgentConfig:
    return load_agent(text, {"agent": NodeAgentConfig}, environ={}, check_files=False).section(NodeAgentConfig, "agent")


def test_everything_has_a_default() -> None:
    config = load("")
    assert config.collectors == (Address("127.0.0.1", 5001),)
    assert config.interval_secs == 10
    assert config.heartbeat_secs == 5
    assert config.processes_top == 0
    assert "gpu" in config.sources


def test_collectors_keep_their_order() -> None:
    config = load('agent: {collectors: ["b.example:5001", "[::1]:7000"], tags: {rack: r1}, sources: [cpu, agent]}')
    assert [str(address) for address in config.collectors] == ["b.example:5001", "[::1]:7000"]
    assert config.tags == {"rack": "r1"}
    assert config.sources == ("cpu", "agent")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agent: {collectors: []}", "agent.collectors"),
        ('agent: {collectors: ["a:0"]}', "expected a port from 1"),
        ("agent: {collectors: [nothing]}", "expected host:port"),
        ("agent: {sources: [cpus]}", "agent.sources"),
        ("agent: {tags: {zone: a}}", "expected agent.zone"),
        ('agent: {tags: {"": a}}', "agent.tags"),
        ('agent: {region: ""}', "agent.region"),
        ('agent: {node_id: "a\\tb"}', "without control characters"),
        ("agent: {interval_secs: 0}", "agent.interval_secs"),
        ("agent: {intervall_secs: 1}", "intervall_secs"),
        ("agent: {processes_top: 1000}", "from 0 to 100"),
    ],
)
def test_mistakes_name_their_key(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(text)


def test_an_extension_without_quinn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("agent: {transport: quinn}").transport == "quinn"
    monkeypatch.delattr(_core, "QuicClient")
    with pytest.raises(ConfigError, match=r"agent.transport = quinn: this build .* has no quinn"):
        load("agent: {transport: quinn}")
    assert load("agent: {transport: aioquic}").transport == "aioquic"
