"""The same data set and work through Telegraf, the OpenTelemetry Collector and ours, on the same machine in one run."""
