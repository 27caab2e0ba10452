"""`python -m telemetry_collector`: the same as the `telemetry-collector` command."""

from telemetry_collector.cli.main import main

if __name__ == "__main__":
    main()
