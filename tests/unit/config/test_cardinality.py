"""The bound of series is the one that the core can keep."""

import pytest

from telemetry_collector import _core
from telemetry_collector.config import WRITERS, DiscoveredSections, load
from telemetry_collector.config.sections import CARDINALITY_MAX
from telemetry_collector.errors import ConfigError


def test_no_more_series_can_be_asked_for_than_a_checkpoint_has_room_for() -> None:
    assert CARDINALITY_MAX == _core.CARDINALITY_MAX
    document = "parquet: {{}}\nlimits: {{max_cardinality: {}}}\n"
    sections = DiscoveredSections(WRITERS)
    assert load(document.format(CARDINALITY_MAX), sections, check_files=False).limits.max_cardinality == CARDINALITY_MAX
    with pytest.raises(ConfigError) as refused:
        load(document.format(CARDINALITY_MAX + 1), sections, check_files=False)
    (mistake,) = refused.value.mistakes
    assert mistake.key == "limits.max_cardinality"
    assert str(CARDINALITY_MAX) in str(refused.value)
