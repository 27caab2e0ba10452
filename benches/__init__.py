"""Measurements, printed as a table: `make bench`. docs/benchmarks.md says what each figure means."""
