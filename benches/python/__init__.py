"""Stages as Python sees them, timed by pytest-benchmark; `make test` runs each once, untimed."""
