"""What a user's document becomes."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.support.sections import WRITERS, Files, Influx, loaded, only

from telemetry_collector.config import (
    Address,
    Section,
    load,
    to_yaml,
)
from telemetry_collector.errors import Mistake


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


def test_what_is_shown_as_yaml_loads_to_the_same() -> None:
    config = loaded("server: {listen_addr: '[::1]:0'}\nparquet: {name: é}\nsecurity: {relays: [a]}")
    again = loaded(to_yaml(config.sections))
    assert again == config
