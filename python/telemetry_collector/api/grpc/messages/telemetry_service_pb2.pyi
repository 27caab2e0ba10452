from telemetry_collector.api.grpc.messages import telemetry_pb2 as _telemetry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Aggregation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_UNSPECIFIED: _ClassVar[Aggregation]
    AGGREGATION_AVG: _ClassVar[Aggregation]
    AGGREGATION_MIN: _ClassVar[Aggregation]
    AGGREGATION_MAX: _ClassVar[Aggregation]
    AGGREGATION_SUM: _ClassVar[Aggregation]
    AGGREGATION_COUNT: _ClassVar[Aggregation]
    AGGREGATION_LAST: _ClassVar[Aggregation]
    AGGREGATION_QUANTILE: _ClassVar[Aggregation]
    AGGREGATION_RATE: _ClassVar[Aggregation]
    AGGREGATION_HISTOGRAM_COUNT: _ClassVar[Aggregation]
    AGGREGATION_HISTOGRAM_SUM: _ClassVar[Aggregation]
    AGGREGATION_HISTOGRAM_AVG: _ClassVar[Aggregation]
    AGGREGATION_HISTOGRAM_QUANTILE: _ClassVar[Aggregation]
AGGREGATION_UNSPECIFIED: Aggregation
AGGREGATION_AVG: Aggregation
AGGREGATION_MIN: Aggregation
AGGREGATION_MAX: Aggregation
AGGREGATION_SUM: Aggregation
AGGREGATION_COUNT: Aggregation
AGGREGATION_LAST: Aggregation
AGGREGATION_QUANTILE: Aggregation
AGGREGATION_RATE: Aggregation
AGGREGATION_HISTOGRAM_COUNT: Aggregation
AGGREGATION_HISTOGRAM_SUM: Aggregation
AGGREGATION_HISTOGRAM_AVG: Aggregation
AGGREGATION_HISTOGRAM_QUANTILE: Aggregation

class CollectSummary(_message.Message):
    __slots__ = ("batches", "stored", "duplicate", "partial", "rejected", "retry_later", "accepted_points", "rejected_points", "rejections", "retry_sequences", "retry_after_ms")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    RETRY_LATER_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_POINTS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_POINTS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    batches: int
    stored: int
    duplicate: int
    partial: int
    rejected: int
    retry_later: int
    accepted_points: int
    rejected_points: int
    rejections: _containers.RepeatedCompositeFieldContainer[_telemetry_pb2.Rejection]
    retry_sequences: _containers.RepeatedScalarFieldContainer[int]
    retry_after_ms: int
    def __init__(self, batches: _Optional[int] = ..., stored: _Optional[int] = ..., duplicate: _Optional[int] = ..., partial: _Optional[int] = ..., rejected: _Optional[int] = ..., retry_later: _Optional[int] = ..., accepted_points: _Optional[int] = ..., rejected_points: _Optional[int] = ..., rejections: _Optional[_Iterable[_Union[_telemetry_pb2.Rejection, _Mapping]]] = ..., retry_sequences: _Optional[_Iterable[int]] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class QueryMetricsRequest(_message.Message):
    __slots__ = ("selection", "start_unix_ns", "end_unix_ns", "step_ns", "aggregation", "quantiles", "group_by")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    START_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    END_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    STEP_NS_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    selection: MetricSelection
    start_unix_ns: int
    end_unix_ns: int
    step_ns: int
    aggregation: Aggregation
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    group_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, selection: _Optional[_Union[MetricSelection, _Mapping]] = ..., start_unix_ns: _Optional[int] = ..., end_unix_ns: _Optional[int] = ..., step_ns: _Optional[int] = ..., aggregation: _Optional[_Union[Aggregation, str]] = ..., quantiles: _Optional[_Iterable[float]] = ..., group_by: _Optional[_Iterable[str]] = ...) -> None: ...

class MetricSelection(_message.Message):
    __slots__ = ("name", "matchers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MATCHERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    matchers: _containers.RepeatedCompositeFieldContainer[TagMatcher]
    def __init__(self, name: _Optional[str] = ..., matchers: _Optional[_Iterable[_Union[TagMatcher, _Mapping]]] = ...) -> None: ...

class TagMatcher(_message.Message):
    __slots__ = ("key", "operator", "value")
    class Operator(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EQUAL: _ClassVar[TagMatcher.Operator]
        NOT_EQUAL: _ClassVar[TagMatcher.Operator]
        MATCHES: _ClassVar[TagMatcher.Operator]
        MATCHES_NOT: _ClassVar[TagMatcher.Operator]
    EQUAL: TagMatcher.Operator
    NOT_EQUAL: TagMatcher.Operator
    MATCHES: TagMatcher.Operator
    MATCHES_NOT: TagMatcher.Operator
    KEY_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    operator: TagMatcher.Operator
    value: str
    def __init__(self, key: _Optional[str] = ..., operator: _Optional[_Union[TagMatcher.Operator, str]] = ..., value: _Optional[str] = ...) -> None: ...

class QueryMetricsResponse(_message.Message):
    __slots__ = ("series",)
    SERIES_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[ResultSeries]
    def __init__(self, series: _Optional[_Iterable[_Union[ResultSeries, _Mapping]]] = ...) -> None: ...

class ResultSeries(_message.Message):
    __slots__ = ("name", "tags", "points")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    tags: _containers.RepeatedCompositeFieldContainer[_telemetry_pb2.Tag]
    points: _containers.RepeatedCompositeFieldContainer[ResultPoint]
    def __init__(self, name: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[_telemetry_pb2.Tag, _Mapping]]] = ..., points: _Optional[_Iterable[_Union[ResultPoint, _Mapping]]] = ...) -> None: ...

class ResultPoint(_message.Message):
    __slots__ = ("start_unix_ns", "values")
    START_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    start_unix_ns: int
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, start_unix_ns: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("ok", "ready", "version", "uptime_secs", "connections", "series", "batches_received", "points_received", "points_accepted", "points_committed", "points_refused", "writers", "journal_room_bytes", "outage_covered_secs", "unwritten_age_secs")
    OK_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECS_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    BATCHES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    POINTS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    POINTS_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    POINTS_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    POINTS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    WRITERS_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_ROOM_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_COVERED_SECS_FIELD_NUMBER: _ClassVar[int]
    UNWRITTEN_AGE_SECS_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    ready: bool
    version: str
    uptime_secs: float
    connections: int
    series: int
    batches_received: int
    points_received: int
    points_accepted: int
    points_committed: int
    points_refused: int
    writers: _containers.RepeatedCompositeFieldContainer[WriterHealth]
    journal_room_bytes: int
    outage_covered_secs: float
    unwritten_age_secs: float
    def __init__(self, ok: _Optional[bool] = ..., ready: _Optional[bool] = ..., version: _Optional[str] = ..., uptime_secs: _Optional[float] = ..., connections: _Optional[int] = ..., series: _Optional[int] = ..., batches_received: _Optional[int] = ..., points_received: _Optional[int] = ..., points_accepted: _Optional[int] = ..., points_committed: _Optional[int] = ..., points_refused: _Optional[int] = ..., writers: _Optional[_Iterable[_Union[WriterHealth, _Mapping]]] = ..., journal_room_bytes: _Optional[int] = ..., outage_covered_secs: _Optional[float] = ..., unwritten_age_secs: _Optional[float] = ...) -> None: ...

class WriterHealth(_message.Message):
    __slots__ = ("name", "points_written", "points_refused", "lag_points", "failing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POINTS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    POINTS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    LAG_POINTS_FIELD_NUMBER: _ClassVar[int]
    FAILING_FIELD_NUMBER: _ClassVar[int]
    name: str
    points_written: int
    points_refused: int
    lag_points: int
    failing: str
    def __init__(self, name: _Optional[str] = ..., points_written: _Optional[int] = ..., points_refused: _Optional[int] = ..., lag_points: _Optional[int] = ..., failing: _Optional[str] = ...) -> None: ...

class AlertRule(_message.Message):
    __slots__ = ("name", "selection", "aggregation", "quantiles", "window_ns", "group_by", "comparison", "threshold", "for_ns", "severity", "labels")
    class Comparison(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        COMPARISON_UNSPECIFIED: _ClassVar[AlertRule.Comparison]
        ABOVE: _ClassVar[AlertRule.Comparison]
        AT_LEAST: _ClassVar[AlertRule.Comparison]
        BELOW: _ClassVar[AlertRule.Comparison]
        AT_MOST: _ClassVar[AlertRule.Comparison]
        EQUAL_TO: _ClassVar[AlertRule.Comparison]
        NOT_EQUAL_TO: _ClassVar[AlertRule.Comparison]
    COMPARISON_UNSPECIFIED: AlertRule.Comparison
    ABOVE: AlertRule.Comparison
    AT_LEAST: AlertRule.Comparison
    BELOW: AlertRule.Comparison
    AT_MOST: AlertRule.Comparison
    EQUAL_TO: AlertRule.Comparison
    NOT_EQUAL_TO: AlertRule.Comparison
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[AlertRule.Severity]
        INFO: _ClassVar[AlertRule.Severity]
        WARNING: _ClassVar[AlertRule.Severity]
        CRITICAL: _ClassVar[AlertRule.Severity]
    SEVERITY_UNSPECIFIED: AlertRule.Severity
    INFO: AlertRule.Severity
    WARNING: AlertRule.Severity
    CRITICAL: AlertRule.Severity
    NAME_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_NS_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FOR_NS_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    selection: MetricSelection
    aggregation: Aggregation
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    window_ns: int
    group_by: _containers.RepeatedScalarFieldContainer[str]
    comparison: AlertRule.Comparison
    threshold: float
    for_ns: int
    severity: AlertRule.Severity
    labels: _containers.RepeatedCompositeFieldContainer[_telemetry_pb2.Tag]
    def __init__(self, name: _Optional[str] = ..., selection: _Optional[_Union[MetricSelection, _Mapping]] = ..., aggregation: _Optional[_Union[Aggregation, str]] = ..., quantiles: _Optional[_Iterable[float]] = ..., window_ns: _Optional[int] = ..., group_by: _Optional[_Iterable[str]] = ..., comparison: _Optional[_Union[AlertRule.Comparison, str]] = ..., threshold: _Optional[float] = ..., for_ns: _Optional[int] = ..., severity: _Optional[_Union[AlertRule.Severity, str]] = ..., labels: _Optional[_Iterable[_Union[_telemetry_pb2.Tag, _Mapping]]] = ...) -> None: ...

class ConfigureAlertRequest(_message.Message):
    __slots__ = ("rule",)
    RULE_FIELD_NUMBER: _ClassVar[int]
    rule: AlertRule
    def __init__(self, rule: _Optional[_Union[AlertRule, _Mapping]] = ...) -> None: ...

class ConfigureAlertResponse(_message.Message):
    __slots__ = ("rule", "replaced", "evaluation")
    RULE_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    rule: AlertRule
    replaced: bool
    evaluation: str
    def __init__(self, rule: _Optional[_Union[AlertRule, _Mapping]] = ..., replaced: _Optional[bool] = ..., evaluation: _Optional[str] = ...) -> None: ...

class ListAlertsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAlertsResponse(_message.Message):
    __slots__ = ("rules", "evaluation")
    RULES_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[AlertRule]
    evaluation: str
    def __init__(self, rules: _Optional[_Iterable[_Union[AlertRule, _Mapping]]] = ..., evaluation: _Optional[str] = ...) -> None: ...

class DeleteAlertRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteAlertResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
