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
        ('agent: {network: {peers: ["b:0"]}}', "expected a port from 1"),
        ('agent: {network: {peers: ["b:1", "b:1"]}}', "b:1 twice; expected each once"),
        ("agent: {network: {listen_addr: here}}", r"agent\.network\.listen_addr .*expected host:port"),
        ("agent: {resources: {max_cpu_percent: 0}}", r"agent\.resources\.max_cpu_percent"),
        ("agent: {sampling: {low_mark: 0.9}}", "low_mark 0.9 is not below high_mark 0.8"),
        ("agent: {sampling: {rules: [{pattern: a, importance: vital}]}}", "'critical', 'high', 'normal' or 'low'"),
        ("agent: {sampling: {rules: [{pattern: a, rate_min: 0}]}}", r"sampling\.rules\[0\]\.rate_min"),
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


CHECKS = """
agent:
  monitors:
    http:
      - {name: shop, url: "https://shop.example/health?key=1", headers: {Authorization: "Bearer t0p"}, depends_on: [db],
         certificate_days_min: 14}
    tcp:
      - {name: db, service: database, address: "db.example:5432"}
    process:
      - {name: nginx, pid_file: /run/nginx.pid, pattern: "nginx*"}
    command:
      - {name: raid, command: [/usr/local/bin/check-raid, --all], interval_secs: 300, timeout_secs: 60}
"""


def test_checks_are_lists_by_kind_and_their_secrets_are_not_shown() -> None:
    monitors = load(CHECKS).monitors
    assert [check.name for check in monitors.checks] == ["shop", "db", "nginx", "raid"]
    assert monitors.http[0].expected_status == ()
    assert monitors.command[0].expected_exit == (0,)
    assert "t0p" not in repr(monitors)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("name: db,", "name: shop,", "two checks are called shop; expected a name of its own"),
        ("depends_on: [db]", "depends_on: [dbs]", "shop depends on dbs, which is no check; expected"),
        ("service: database", "depends_on: [shop]", "in a circle, among db, shop; expected"),
        ("service: database", "depends_on: [db]", "in a circle, among db, shop; expected"),
        ("db.example:5432", "db.example", r"agent\.monitors\.tcp\[0\]\.address .*expected host:port"),
        ("db.example:5432", "db.example:0", "expected a port from 1"),
        ("https://shop", "ftp://shop", r"agent\.monitors\.http\[0\]\.url"),
        ("https://shop.example", "https://shop.example:99999", r"http\[0\]\.url.* a port from 1 to 65535"),
        ("https://shop.example", "https://[::1", r"http\[0\]\.url.* with a host"),
        ("https://shop.example", "https://a b", r"http\[0\]\.url.* without spaces"),
        ("name: shop,", "name: shop, method: HEAD, expected_body: a,", "expects a body of HEAD, which has none"),
        ("https://shop.example", "http://shop.example", "has certificate_days_min and no certificate"),
        ("Authorization:", "'X Key':", r"monitors\.http\[0\]\.headers"),
        (
            '"Bearer t0p"',
            r'"t0p\r\nX: y"',
            "the value of Authorization has control characters; expected text of one line",
        ),
        ("name: shop,", "name: shop, expected_body: '(',", "no regular expression"),
        ("name: shop,", "name: shop, method: DELETE,", r"monitors\.http\[0\]\.method"),
        ("name: shop,", "name: shop, expected_status: [42],", r"monitors\.http\[0\]\.expected_status"),
        ("name: shop,", "name: 'a shop',", r"monitors\.http\[0\]\.name"),
        ("name: shop,", "name: shop, statuses: [200],", "statuses"),
        ('pid_file: /run/nginx.pid, pattern: "nginx*"', "processes_min: 1", "expected pid_file, pattern or both"),
        ("name: nginx,", "name: nginx, processes_min: 3, processes_max: 2,", "expected at least 3"),
        ("command: [/usr/local/bin/check-raid, --all]", "command: []", "expected either command or shell"),
        ("name: raid,", "name: raid, shell: 'true',", "expected either command or shell"),
        ("timeout_secs: 60", "timeout_secs: 301", "expected at most the interval"),
        ("interval_secs: 300", "interval_secs: 0.01", r"monitors\.command\[0\]\.interval_secs"),
    ],
)
def test_mistakes_in_checks_name_what_is_wrong(old: str, new: str, words: str) -> None:
    assert old in CHECKS
    with pytest.raises(ConfigError, match=words) as wrong:
        load(CHECKS.replace(old, new))
    assert "t0p" not in str(wrong.value)


def test_there_is_a_bound_on_checks() -> None:
    many = "".join(f"      - {{name: c{n}, address: 'a:1'}}\n" for n in range(257))
    with pytest.raises(ConfigError, match="expected at most 256"):
        load(f"agent:\n  monitors:\n    tcp:\n{many}")
