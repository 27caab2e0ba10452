"""What is said about a document that is wrong."""

from pathlib import Path

import pytest
from tests.support.sections import Files, loaded, mistakes, only

from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.config import (
    Section,
    load,
    load_agent,
)
from telemetry_collector.errors import ConfigError


class TestMistakes:
    def test_all_are_told_at_once_in_the_order_of_the_document(self) -> None:
        found = mistakes(
            "limits:\n"
            "  max_batch_sise: 5\n"
            "  max_cardinality: 0\n"
            "parket: {}\n"
            "influxdb:\n"
            "  batch: ${MISSING}\n"
            "observability: {metrics_port: 99999, log_level: loud}\n"
        )
        assert [(mistake.key, mistake.line) for mistake in found] == [
            ("limits.max_batch_sise", 2),
            ("limits.max_cardinality", 3),
            ("parket", 4),
            ("influxdb.url", 5),
            ("influxdb.token", 5),
            ("influxdb.batch", 6),
            ("observability.metrics_port", 7),
            ("observability.log_level", 7),
        ]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (
                "limits: {max_batch_sise: 5}",
                "limits.max_batch_sise: is not a key of limits; did you mean max_batch_size?",
            ),
            ("parket: {}", "parket: is not a section; did you mean parquet?"),
            (
                "journal: {zzz: 1}",
                "journal.zzz: is not a key of journal; known are dir, max_age_secs, max_bytes, recent_bytes_max, "
                "segment_bytes",
            ),
            (
                "limits: {max_batch_size: 0}",
                "limits.max_batch_size = 0: is too small; "
                "expected a whole number from 1 to 1000000: points of one batch",
            ),
            (
                "observability: {metrics_port: 65536}",
                "observability.metrics_port = 65536: is too large; expected a whole number from 0 to 65535: "
                "the port of /metrics, /health and /ready; 0 lets the system choose",
            ),
            (
                "server: {shutdown_timeout_secs: 0}",
                "server.shutdown_timeout_secs = 0: is too small; expected a number above 0 up to 31622400: "
                "how long stopping may take before it is cut short",
            ),
            (
                "limits: {max_batch_size: 1.5}",
                "limits.max_batch_size = 1.5: is not a whole number; expected a whole number from 1 to 1000000: "
                "points of one batch",
            ),
            (
                "limits: {max_batch_size: true}",
                "limits.max_batch_size = true: is not a whole number; expected a whole number from 1 to 1000000: "
                "points of one batch",
            ),
            (
                "limits: {max_batch_size: }",
                "limits.max_batch_size: is empty; expected a whole number from 1 to 1000000: points of one batch",
            ),
            (
                "limits: {max_batch_size: [1]}",
                "limits.max_batch_size: is a list; expected a whole number from 1 to 1000000: points of one batch",
            ),
            (
                "server: {shutdown_timeout_secs: .nan}",
                "server.shutdown_timeout_secs = .nan: is not a finite number; "
                "expected a number above 0 up to 31622400: how long stopping may take before it is cut short",
            ),
            (
                "security: {bind_node_id: yes}",
                "security.bind_node_id = yes: is not true or false; expected true or false: "
                "whether a batch may speak only for its certificate's node",
            ),
            (
                "observability: {log_level: INFO}",
                "observability.log_level = INFO: is not one of the choices; "
                "expected 'debug', 'info', 'warning' or 'error'",
            ),
            (
                "server: {listen_addr: 5001}",
                "server.listen_addr = 5001: is not right; expected host:port, such as 0.0.0.0:5001 or [::]:5001",
            ),
            (
                "security: {allowed_identities: []}",
                "security.allowed_identities: is empty; "
                "expected patterns of the identities that may connect, at least one",
            ),
            (
                "security: {relays: [a, 1]}",
                "security.relays[1] = 1: is not text; "
                "expected text: patterns of the identities that may speak for any node",
            ),
            ("server: 5", "server = 5: is not keys with values; expected keys with values"),
            ("server: [a]", "server: is a list; expected keys with values"),
            (
                "influxdb: {url: 'ftp://db', token: t}",
                "influxdb.url = ftp://db: is not right; expected an address that starts with http:// or https://, "
                "such as http://localhost:8086",
            ),
            ("influxdb: {token: t}", "influxdb.url: is missing; expected the server's address"),
            (
                "influxdb: {url: 'http://db', token: t, tags: {a: 1}}",
                "influxdb.tags.a = 1: is not text; expected text",
            ),
            (
                "parquet: {output_dir: 5}",
                "parquet.output_dir = 5: is not text; expected text",
            ),
            ("parquet: {name: ''}", "parquet.name = '': is empty; expected something"),
            (
                "influxdb: {url: 'http://db', token: t, bucket: B}",
                "influxdb.bucket = B: is not right; expected a bucket's name in small letters",
            ),
            (
                "influxdb: {url: 'http://db', token: t, tags: {a: x, b: x, c: x}}",
                "influxdb.tags: is too long; expected at most 2 entries",
            ),
            (
                "influxdb: {url: 'http://db', token: t, tags: {abcdef: x}}",
                "influxdb.tags.abcdef = x: is too long; expected at most 5 characters",
            ),
            (
                "journal: {max_bytes: 3000000}",
                "journal: max_bytes 3000000 is below two segments of segment_bytes 67108864; "
                "expected at least 134217728",
            ),
            (
                "limits: {inflight_bytes_max: 1048576, frame_bytes_max: 2000000}",
                "limits: inflight_bytes_max 1048576 is below frame_bytes_max 2000000; "
                "expected room for at least one frame",
            ),
            ("- a\n", "is no mapping; expected sections such as `server:` with keys below them"),
            ("just words", "is no mapping; expected sections such as `server:` with keys below them"),
        ],
    )
    def test_each_tells_key_value_and_what_would_be_right(self, text: str, words: str) -> None:
        assert str(only(text)) == words

    def test_a_wrong_entry_of_a_list_is_one_mistake(self) -> None:
        text = "agent: {collectors: [localhost]}"
        with pytest.raises(ConfigError) as caught:
            load_agent(text, {"agent": NodeAgentConfig}, check_files=False)
        (mistake,) = caught.value.mistakes
        assert mistake.key == "agent.collectors[0]"

    def test_a_document_that_cannot_be_read_is_one_mistake_and_no_file_is_missed(self) -> None:
        with pytest.raises(ConfigError) as caught:
            load("server: [", {})
        (mistake,) = caught.value.mistakes
        assert mistake.problem.startswith("is not YAML: ")

    def test_the_error_reads_as_a_report(self) -> None:
        with pytest.raises(ConfigError) as caught:
            loaded("limits:\n  max_batch_size: x\nfoo: 1")
        assert str(caught.value).splitlines() == [
            "2 mistakes in configuration",
            "configuration:2: limits.max_batch_size = x: is not a whole number; "
            "expected a whole number from 1 to 1000000: points of one batch",
            "configuration:3: foo: is not a section; known are api, forward, grpc, influxdb, journal, "
            "limits, logs, observability, parquet, query, quotas, receivers, scrape, security, server, traces",
        ]

    def test_a_writer_that_cannot_be_loaded_is_a_mistake_of_its_section(self) -> None:
        class Broken(dict[str, type[Section]]):
            def __getitem__(self, name: str) -> type[Section]:
                raise ImportError("No module named 'acme'")

        with pytest.raises(ConfigError) as caught:
            load("acme: {}", Broken(acme=Files), check_files=False)
        assert str(caught.value.mistakes[0]) == (
            "acme: has code that cannot be loaded: No module named 'acme'; "
            "install what is missing, or remove the section"
        )

    def test_a_missing_file_is_told_by_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert str(caught.value).endswith(f"{path}: cannot be read: no such file or directory; expected a YAML file")

    def test_a_directory_is_no_document(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: is a directory"):
            load(tmp_path, {})

    def test_bytes_that_are_no_text_are_told(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_bytes(b"server: \xff\n")
        with pytest.raises(ConfigError, match="is not UTF-8: byte 8 is 0xff"):
            load(path, {})
