"""Consumers of committed blocks. Each is one file with a section, and is found by its entry point; docs/writers.md."""
