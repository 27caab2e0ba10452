"""Finding the sections of components that are installed, third parties' included, by entry point."""

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from telemetry_collector.config.section import Section

WRITERS = "telemetry_collector.writers"
"""The entry-point group of writers: a name, which is its section's, and a class with a `Config`."""


class DiscoveredSections(Mapping[str, type[Section]]):
    """Names of a group's entry points → the `Config` of what each loads; nothing is loaded before it is asked for.

    Looking up a name raises ImportError when its component cannot be loaded or declares no section.
    """

    def __init__(self, group: str) -> None:
        self._points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=group)}

    def __getitem__(self, name: str) -> type[Section]:
        point = self._points[name]
        try:
            config = point.load().Config
        except AttributeError as error:
            raise ImportError(f"{point.value} is no component with a Config: {error}") from error
        if not (isinstance(config, type) and issubclass(config, Section)):
            raise ImportError(f"{point.value}.Config is no subclass of telemetry_collector.config.Section")
        return config

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)
