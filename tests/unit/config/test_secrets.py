"""Keys inside of sections, and secrets, which no message shows."""

import pytest
from tests.support.sections import Forward, Login, loaded, mistakes, only

from telemetry_collector.config import (
    Secret,
    to_yaml,
)
from telemetry_collector.errors import ConfigError

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
