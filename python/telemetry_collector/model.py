"""The numbers of proto/telemetry.proto under names, and the few words that every part of the collector shares."""

from enum import IntEnum

STANDARD_TAGS = ("node_id", "region", "zone", "service", "version")
"""Tags with a column of their own in the data set, in its order; all others go into a map."""

ALPN = "telemetry/1"
"""The wire protocol's name in the TLS handshake."""


class _Numbered(IntEnum):
    @property
    def label(self) -> str:
        """The name as it stands in metrics and logs: `retry_later`."""
        return self.name.lower()


class MetricType(_Numbered):
    """What a point's numbers mean. `UNSPECIFIED` with a plain value is read as a gauge."""

    UNSPECIFIED = 0
    COUNTER = 1
    GAUGE = 2
    HISTOGRAM = 3
    SUMMARY = 4
    METER = 5


class Outcome(_Numbered):
    """The collector's answer to a batch. One that is unknown is treated as `RETRY_LATER`."""

    UNSPECIFIED = 0
    STORED = 1
    DUPLICATE = 2
    PARTIAL = 3
    REJECTED = 4
    RETRY_LATER = 5


class Reason(_Numbered):
    """Why points or a whole batch were refused."""

    UNSPECIFIED = 0
    CARDINALITY_LIMIT = 1
    BATCH_TOO_LARGE = 2
    INVALID_NAME = 3
    INVALID_TAG = 4
    INVALID_VALUE = 5
    INVALID_TIMESTAMP = 6
    UNKNOWN_SERIES = 7
    IDENTITY_MISMATCH = 8
    NOT_IN_CATALOGUE = 9
    MALFORMED = 10
    WITHDRAWN = 11


class CloseCode(_Numbered):
    """Application error code with which a connection or stream ends."""

    NORMAL = 0
    FRAME_TOO_LARGE = 1
    CREDIT_EXCEEDED = 2
    NOT_ALLOWED = 3
    REVOKED = 4
    TOO_MANY_CONNECTIONS = 5
    TOO_MANY_STREAMS = 6
    TIMED_OUT = 7
    SHUTTING_DOWN = 8
    QUOTA_EXCEEDED = 9
