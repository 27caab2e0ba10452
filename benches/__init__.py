"""Measurements, printed as a table: `make bench`. docs/benchmarks.md says what each figure means."""

import telemetry_collector  # noqa: F401 (before Arrow is loaded: it says where memory comes from, as for the collector)
