"""What writers report: each event is counted once and, where an operator would want to know, logged once."""

from typing import final

from prometheus_client import CollectorRegistry, Counter

from telemetry_collector.observe import metrics
from telemetry_collector.observe.logs import logger

log = logger(__name__)

# A destination's own words are logged up to here.
WORDS_MAX = 300


@final
class WriterMetrics:
    """The counters of all writers, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return metrics.counter(registry, f"writer_{name}", text, ("writer", *labels))

        self.points = counter("points", "Points that are durable at the destination")
        self.bytes = counter("bytes", "Bytes sent to the destination, or of the files published")
        self.requests = counter("requests", "Requests that the destination accepted")
        self.rewritten = counter("points_rewritten", "Points whose names or tags were changed to fit the destination")
        self.refused = counter("points_refused", "Points that the destination refused for good", "reason")
        self.failures = counter("failures", "Attempts that failed, to be made again", "reason")
        self.dead_letter_points = counter("dead_letter_points", "Points refused for good that were kept in a file")
        self.dead_letter_bytes = counter("dead_letter_bytes", "Bytes of those files")
        self.dead_letters_dropped = counter(
            "dead_letter_points_dropped", "Points refused for good whose file had to make room for newer ones"
        )
        self.files = counter("files", "Files published")
        self.compactions = counter("compactions", "Partitions compacted")
        self.compacted_files = counter("compacted_files", "Files replaced by compaction")

    def writer(self, name: str) -> "WriterEvents":
        """The events of one writer; its counters exist from now on, with 0."""
        return WriterEvents(self, name)


@final
class WriterEvents:
    """One writer's side of `WriterMetrics`. Safe to call from any thread."""

    def __init__(self, metrics: WriterMetrics, name: str) -> None:
        self._name = name
        self._metrics = metrics
        self._points = metrics.points.labels(name)
        self._bytes = metrics.bytes.labels(name)
        self._requests = metrics.requests.labels(name)
        self._rewritten = metrics.rewritten.labels(name)
        self._dead_letter_points = metrics.dead_letter_points.labels(name)
        self._dead_letter_bytes = metrics.dead_letter_bytes.labels(name)
        self._dead_letters_dropped = metrics.dead_letters_dropped.labels(name)
        self._files = metrics.files.labels(name)
        self._compactions = metrics.compactions.labels(name)
        self._compacted_files = metrics.compacted_files.labels(name)
        self.failing: str | None = None
        """Why the destination takes nothing at the moment; None when it does."""
        self.points_refused = 0
        """Points that the destination refused for good."""

    def written(self, points: int) -> None:
        """Points became durable at the destination."""
        self._points.inc(points)

    def accepted(self, body_bytes: int) -> None:
        """The destination took a request of so many bytes."""
        self._requests.inc()
        self._bytes.inc(body_bytes)
        if self.failing is not None:
            log.info("writer_recovered", writer=self._name)
            self.failing = None

    def published(self, path: str, rows: int, file_bytes: int) -> None:
        """A file became visible to readers."""
        self._files.inc()
        self._bytes.inc(file_bytes)
        self._points.inc(rows)
        self.failing = None
        log.debug("file_published", writer=self._name, path=path, rows=rows, bytes=file_bytes)

    def rewritten(self, points: int) -> None:
        """Names or tags were rewritten by the destination's documented rule."""
        self._rewritten.inc(points)

    def refused(self, reason: str, points: int, words: str) -> None:
        """The destination will never take these points; `words` is what it said."""
        self._metrics.refused.labels(self._name, reason).inc(points)
        self.points_refused += points
        log.error("writer_points_refused", writer=self._name, reason=reason, points=points, answer=words[:WORDS_MAX])

    def dead_lettered(self, points: int, file_bytes: int) -> None:
        """Points that were refused are kept in a file, which grew by so much."""
        self._dead_letter_points.inc(points)
        self._dead_letter_bytes.inc(file_bytes)

    def dead_letters_dropped(self, points: int, path: str) -> None:
        """The oldest file of refused points was deleted for want of room."""
        self._dead_letters_dropped.inc(points)
        log.warning("dead_letters_dropped", writer=self._name, points=points, path=path)

    def failed(self, reason: str, words: str, retry_secs: float | None = None, *, operator: bool = False) -> None:
        """An attempt failed and will be made again, `retry_secs` from now; `operator`: not unless someone mends it."""
        self._metrics.failures.labels(self._name, reason).inc()
        self.failing = f"{reason}: {words[:WORDS_MAX]}"
        report = log.error if operator else log.warning
        words = words[:WORDS_MAX]
        report("writer_attempt_failed", writer=self._name, reason=reason, answer=words, retry_secs=retry_secs)

    def compacted(self, partition: str, files: int, into: int, rows: int) -> None:
        """A partition's files were replaced by fewer."""
        self._compactions.inc()
        self._compacted_files.inc(files)
        log.info("partition_compacted", writer=self._name, partition=partition, files=files, into=into, rows=rows)

    def compaction_failed(self, partition: str, words: str) -> None:
        """A partition stays as it was; the next round tries again."""
        self._metrics.failures.labels(self._name, "compaction").inc()
        log.warning("compaction_failed", writer=self._name, partition=partition, error=words[:WORDS_MAX])
