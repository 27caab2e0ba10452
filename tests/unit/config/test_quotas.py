"""The `quotas` section: who may send what."""

import pytest

from telemetry_collector.config import Quotas, load
from telemetry_collector.config.show import to_yaml
from telemetry_collector.errors import ConfigError


def quotas(text: str) -> Quotas:
    return load(text, {}, check_files=False).quotas


WRITTEN = """
quotas:
  default: {points_per_sec: 500, series: null}
  overrides:
    - identities: ["*/relay/*", gateway]
      points_per_sec: null
    - identities: ["*"]
      series: 7
"""


def test_what_an_override_leaves_out_is_as_in_the_default() -> None:
    relay, rest = quotas(WRITTEN).overrides
    assert (relay.points_per_sec, relay.series, relay.batches_per_sec) == (None, None, 1_000)
    assert (rest.points_per_sec, rest.series, rest.identities) == (500, 7, ("*",))


def test_it_is_shown_as_it_counts() -> None:
    config = load(WRITTEN, {}, check_files=False)
    assert quotas(to_yaml(config.sections)) == config.quotas


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("quotas:\n  default:\n    points_per_sec: 0\n", "quotas.default.points_per_sec", 3),
        ("quotas:\n  default:\n    points: 1\n", "quotas.default.points", 3),
        ("quotas:\n  overrides:\n    - series: 1\n", "quotas.overrides[0].identities", 3),
        ("quotas:\n  overrides:\n    - identities: []\n", "quotas.overrides[0].identities", 3),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, key: str, line: int) -> None:
    with pytest.raises(ConfigError) as raised:
        quotas(text)
    (mistake,) = raised.value.mistakes
    assert (mistake.key, mistake.line) == (key, line)
