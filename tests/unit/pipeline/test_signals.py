"""The core's cursor of traces and logs has what the fan-out asks a cursor for."""

from telemetry_collector import _core
from telemetry_collector.pipeline.consumer import Cursor


def test_the_cursor_of_a_signal_has_what_the_fan_out_asks_for() -> None:
    asked = {name for name in vars(Cursor) if not name.startswith("_")}
    assert {"read", "store", "lag_points"} <= asked
    assert asked <= set(dir(_core.SignalCursor))
