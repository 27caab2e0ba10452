"""What a user's document becomes, and what is said about one that is wrong."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.config import (
    Address,
    Config,
    PositiveInt,
    Secret,
    Section,
    Text,
    Url,
    load,
    load_agent,
    to_yaml,
)
from telemetry_collector.errors import ConfigError, Mistake


class Influx(Section):
    url: Url = Field(description="the server's address")
    token: Secret = Field(description="the token to write with")
    batch: PositiveInt = Field(5_000, le=9_000, description="lines sent at a time")
    gzip: bool = False
    tags: dict[Annotated[str, Field(max_length=5)], str] = Field(default_factory=dict, max_length=2)
    pause: float | Literal["auto"] = "auto"
    bucket: str = Field("b", pattern="^[a-z]+$", description="a bucket's name in small letters")


class Login(Section):
    user: str
    password: Secret


class Forward(Section):
    login: Login | None = None
    peers: list[Login] = Field(default_factory=list)
    retries: int = 3


class Files(Section):
    output_dir: Path = Path("/var/lib/files")
    name: Text = "x"


WRITERS: dict[str, type[Section]] = {"influxdb": Influx, "parquet": Files, "forward": Forward}


def loaded(text: str, **environ: str) -> Config:
    return load(text, WRITERS, environ=environ, check_files=False)


def mistakes(text: str, **environ: str) -> list[Mistake]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, **environ)
    return list(caught.value.mistakes)


def only(text: str, **environ: str) -> Mistake:
    (found,) = mistakes(text, **environ)
    return found


class TestGood:
    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "server:\n", "server: {}\nlimits: ~\n"])
    def test_what_is_left_out_has_its_documented_default(self, text: str) -> None:
        config = loaded(text)
        assert config.server.listen_addr == Address("0.0.0.0", 5001)
        assert (config.server.max_connections, config.server.connection_timeout_secs) == (1000, 300)
        assert config.server.shutdown_timeout_secs == 30
        assert (config.limits.max_cardinality, config.limits.max_batch_size) == (100_000, 1_000)
        assert config.limits.backpressure_threshold == 5_000
        assert (config.limits.timestamp_past_secs, config.limits.timestamp_future_secs) == (604_800, 600)
        assert config.limits.inflight_bytes_max == 256 * 1024**2
        assert config.journal.max_bytes == 16 * 1024**3
        assert (config.observability.metrics_port, config.observability.log_level) == (9091, "info")
        assert config.security.allowed_identities == ("*",)
        assert (config.security.bind_node_id, config.security.relays) == (True, ())

    def test_a_writer_without_a_section_is_off_and_one_with_an_empty_section_is_on(self) -> None:
        assert loaded("").writers == {}
        assert loaded("parquet:\n").writers == {"parquet": Files()}
        assert loaded("parquet: {}\n").writers == {"parquet": Files()}

    def test_writers_come_in_the_order_of_the_document(self) -> None:
        config = loaded("parquet: {}\ninfluxdb: {url: 'http://a', token: t}\n")
        assert list(config.writers) == ["parquet", "influxdb"]

    def test_whole_numbers_pass_for_fractions(self) -> None:
        assert (
            loaded("server: {connection_timeout_secs: 7, shutdown_timeout_secs: 0.5}").server
            == loaded("server: {connection_timeout_secs: 7.0, shutdown_timeout_secs: 0.5}").server
        )

    def test_lists_and_paths_are_read(self) -> None:
        config = loaded("security: {relays: [a, b]}\njournal: {dir: some/where}")
        assert config.security.relays == ("a", "b")
        assert config.journal.dir == Path("some/where")

    def test_nothing_in_a_section_changes(self) -> None:
        config = loaded("")
        with pytest.raises(ValidationError, match="frozen"):
            config.limits.max_cardinality = 1  # type: ignore[misc]

    def test_a_file_is_read_by_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_bytes(b"\xef\xbb\xbflimits: {max_batch_size: 7}\n")
        config = load(path, WRITERS, check_files=False)
        assert config.limits.max_batch_size == 7
        assert config.source == str(path)

    def test_the_section_classes_of_absent_writers_are_not_loaded(self) -> None:
        class Lazy(dict[str, type[Section]]):
            def __getitem__(self, name: str) -> type[Section]:
                raise AssertionError(f"{name} was loaded")

        assert load("server: {}", Lazy(parquet=Files), check_files=False).writers == {}


class TestVariables:
    def test_a_variable_takes_the_type_that_its_key_wants(self) -> None:
        config = loaded(
            "influxdb: {url: '${U}', token: '${T}', batch: '${B}', gzip: '${G}'}\n"
            "server:\n  connection_timeout_secs: ${S:-12}\n",
            U="http://db:8086/",
            T="007",
            B="77",
            G="true",
        )
        influx = config.writers["influxdb"]
        assert isinstance(influx, Influx)
        assert influx.token.get_secret_value() == "007"
        assert (influx.url, influx.batch, influx.gzip) == ("http://db:8086", 77, True)
        assert config.server.connection_timeout_secs == 12

    @pytest.mark.parametrize(("value", "pause"), [("2", 2), ("auto", "auto")])
    def test_a_variable_may_be_one_of_several_types(self, value: str, pause: float | str) -> None:
        influx = loaded("influxdb: {url: 'http://db', token: t, pause: '${P}'}", P=value).writers["influxdb"]
        assert isinstance(influx, Influx)
        assert influx.pause == pause

    def test_variables_come_from_the_process_when_none_are_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TC_TEST_BATCH", "13")
        assert load("limits:\n  max_batch_size: ${TC_TEST_BATCH}", {}, check_files=False).limits.max_batch_size == 13

    def test_an_unset_variable_is_named_with_its_key_and_told_once(self) -> None:
        found = only("limits:\n  max_batch_size: ${SIZE}")
        assert found == Mistake(
            "limits.max_batch_size",
            "the environment variable SIZE is not set; set it, or write ${SIZE:-default}",
            line=2,
        )

    def test_a_variable_of_the_wrong_type_is_shown_by_its_name(self) -> None:
        found = only("limits:\n  max_batch_size: ${SIZE}", SIZE="many")
        assert (found.key, found.value, found.problem) == (
            "limits.max_batch_size",
            "${SIZE}",
            "is not a whole number",
        )
        assert "many" not in str(found)

    def test_a_number_written_in_quotes_is_text(self) -> None:
        assert only("limits: {max_batch_size: '5'}").problem == "is not a whole number"


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


SECRET = "hunter2-c7a1"


class TestNestedSections:
    def test_keys_inside_are_told_by_their_whole_path(self) -> None:
        found = mistakes("forward:\n  login: {user: 5, pasword: x}\n  peers:\n    - {user: a, password: b, port: 1}\n")
        assert [str(mistake) for mistake in found] == [
            "forward.login.user = 5: is not text; expected text",
            "forward.login.password: is missing; expected it to be given",
            "forward.login.pasword: is not a key of forward.login; did you mean password?",
            "forward.peers[0].port: is not a key of forward.peers[0]; known are password, user",
        ]

    def test_a_variable_inside_is_typed_too(self) -> None:
        config = loaded("forward:\n  retries: ${R}\n  login: {user: '${U}', password: '${U}'}", R="5", U="7")
        assert config.writers["forward"] == Forward(login=Login(user="7", password=Secret("7")), retries=5)
        with pytest.raises(ConfigError, match=r"forward\.login: is text; expected keys with values"):
            loaded("forward:\n  login: ${R}", R="5")

    @pytest.mark.parametrize("login", ["hunter2", "[hunter2]", "{user: [hunter2]}", "{user: a, password: [hunter2]}"])
    def test_what_may_hold_a_secret_is_not_shown(self, login: str) -> None:
        with pytest.raises(ConfigError) as caught:
            loaded(f"forward: {{login: {login}}}")
        assert "hunter2" not in str(caught.value)


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            f"influxdb: {{url: 'http://a', token: {SECRET}, bach: 1}}",
            f"influxdb: {{url: 'http://a', token: [{SECRET}]}}",
            f"influxdb: {{url: 'http://a', token: {{a: {SECRET}}}}}",
            f"influxdb: {{url: 'http://a', tokn: {SECRET}}}",
            f"influxdb: {SECRET}",
            f"influxdb: [{SECRET}]",
            f"infuxdb: {{token: {SECRET}}}",
            f"influxdb: {{url: 'ftp://me:{SECRET}@db', token: t}}",
            "influxdb: {url: '${S}', token: t}",
            "influxdb: {url: 'http://a', token: '${S}', batch: '${S}'}",
            "limits:\n  max_batch_size: ${S}",
        ],
    )
    def test_no_mistake_shows_one(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            loaded(text, S=SECRET)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value.mistakes)

    def test_a_numeric_secret_is_not_shown_either(self) -> None:
        assert str(only("influxdb: {url: 'http://a', token: 48151623}")) == (
            "influxdb.token: is a number; expected text: the token to write with"
        )

    def test_a_configuration_does_not_show_its_secrets(self) -> None:
        config = loaded(f"influxdb: {{url: 'http://a', token: {SECRET}}}")
        assert SECRET not in repr(config)
        assert SECRET not in to_yaml(config.sections)
        assert "token: '**********'" in to_yaml(config.sections)


def test_what_is_shown_as_yaml_loads_to_the_same() -> None:
    config = loaded("server: {listen_addr: '[::1]:0'}\nparquet: {name: é}\nsecurity: {relays: [a]}")
    again = loaded(to_yaml(config.sections))
    assert again == config
