"""The composition root: the only package that names concrete components and puts them together.

`collector` is the service and `process` what runs it, `agent` the node agent; `service` is what both do as a process.
"""

from telemetry_collector.observe.without import without

# It loads two megabytes of compressor wherever there is one, for what nobody here asks it to do: to send its metrics.
with without("snappy"):
    import prometheus_client  # noqa: F401  # from now on everybody has this one
