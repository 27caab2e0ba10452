from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MetricType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_TYPE_UNSPECIFIED: _ClassVar[MetricType]
    COUNTER: _ClassVar[MetricType]
    GAUGE: _ClassVar[MetricType]
    HISTOGRAM: _ClassVar[MetricType]
    SUMMARY: _ClassVar[MetricType]
    METER: _ClassVar[MetricType]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    STORED: _ClassVar[Outcome]
    DUPLICATE: _ClassVar[Outcome]
    PARTIAL: _ClassVar[Outcome]
    REJECTED: _ClassVar[Outcome]
    RETRY_LATER: _ClassVar[Outcome]

class CloseCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMAL: _ClassVar[CloseCode]
    FRAME_TOO_LARGE: _ClassVar[CloseCode]
    CREDIT_EXCEEDED: _ClassVar[CloseCode]
    NOT_ALLOWED: _ClassVar[CloseCode]
    REVOKED: _ClassVar[CloseCode]
    TOO_MANY_CONNECTIONS: _ClassVar[CloseCode]
    TOO_MANY_STREAMS: _ClassVar[CloseCode]
    TIMED_OUT: _ClassVar[CloseCode]
    SHUTTING_DOWN: _ClassVar[CloseCode]
    QUOTA_EXCEEDED: _ClassVar[CloseCode]
METRIC_TYPE_UNSPECIFIED: MetricType
COUNTER: MetricType
GAUGE: MetricType
HISTOGRAM: MetricType
SUMMARY: MetricType
METER: MetricType
OUTCOME_UNSPECIFIED: Outcome
STORED: Outcome
DUPLICATE: Outcome
PARTIAL: Outcome
REJECTED: Outcome
RETRY_LATER: Outcome
NORMAL: CloseCode
FRAME_TOO_LARGE: CloseCode
CREDIT_EXCEEDED: CloseCode
NOT_ALLOWED: CloseCode
REVOKED: CloseCode
TOO_MANY_CONNECTIONS: CloseCode
TOO_MANY_STREAMS: CloseCode
TIMED_OUT: CloseCode
SHUTTING_DOWN: CloseCode
QUOTA_EXCEEDED: CloseCode

class MetricBatch(_message.Message):
    __slots__ = ("sequence", "epoch", "common_tags", "metrics", "series", "points", "heartbeat", "compressed", "oldest_unacknowledged", "withdraw")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMMON_TAGS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_FIELD_NUMBER: _ClassVar[int]
    OLDEST_UNACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    epoch: int
    common_tags: _containers.RepeatedCompositeFieldContainer[Tag]
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    series: _containers.RepeatedCompositeFieldContainer[SeriesDefinition]
    points: _containers.RepeatedCompositeFieldContainer[PointColumns]
    heartbeat: Heartbeat
    compressed: CompressedBody
    oldest_unacknowledged: int
    withdraw: bool
    def __init__(self, sequence: _Optional[int] = ..., epoch: _Optional[int] = ..., common_tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., series: _Optional[_Iterable[_Union[SeriesDefinition, _Mapping]]] = ..., points: _Optional[_Iterable[_Union[PointColumns, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., compressed: _Optional[_Union[CompressedBody, _Mapping]] = ..., oldest_unacknowledged: _Optional[int] = ..., withdraw: _Optional[bool] = ...) -> None: ...

class Tag(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "tags", "type", "unit", "timestamp_unix_ns", "value", "histogram", "summary", "delta")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    name: str
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    type: MetricType
    unit: str
    timestamp_unix_ns: int
    value: float
    histogram: Histogram
    summary: Summary
    delta: bool
    def __init__(self, name: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., type: _Optional[_Union[MetricType, str]] = ..., unit: _Optional[str] = ..., timestamp_unix_ns: _Optional[int] = ..., value: _Optional[float] = ..., histogram: _Optional[_Union[Histogram, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., delta: _Optional[bool] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("count", "sum", "min", "max", "upper_bounds", "bucket_counts")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    UPPER_BOUNDS_FIELD_NUMBER: _ClassVar[int]
    BUCKET_COUNTS_FIELD_NUMBER: _ClassVar[int]
    count: int
    sum: float
    min: float
    max: float
    upper_bounds: _containers.RepeatedScalarFieldContainer[float]
    bucket_counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, count: _Optional[int] = ..., sum: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., upper_bounds: _Optional[_Iterable[float]] = ..., bucket_counts: _Optional[_Iterable[int]] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("count", "sum", "quantiles")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    count: int
    sum: float
    quantiles: _containers.RepeatedCompositeFieldContainer[Quantile]
    def __init__(self, count: _Optional[int] = ..., sum: _Optional[float] = ..., quantiles: _Optional[_Iterable[_Union[Quantile, _Mapping]]] = ...) -> None: ...

class Quantile(_message.Message):
    __slots__ = ("quantile", "value")
    QUANTILE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    quantile: float
    value: float
    def __init__(self, quantile: _Optional[float] = ..., value: _Optional[float] = ...) -> None: ...

class SeriesDefinition(_message.Message):
    __slots__ = ("id", "name", "tags", "type", "unit", "delta")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    type: MetricType
    unit: str
    delta: bool
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., type: _Optional[_Union[MetricType, str]] = ..., unit: _Optional[str] = ..., delta: _Optional[bool] = ...) -> None: ...

class PointColumns(_message.Message):
    __slots__ = ("series_ids", "base_timestamp_unix_ns", "timestamp_deltas_ns", "values", "dense_points", "series_runs", "time_runs", "value_heads", "value_bits", "references")
    SERIES_IDS_FIELD_NUMBER: _ClassVar[int]
    BASE_TIMESTAMP_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_DELTAS_NS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DENSE_POINTS_FIELD_NUMBER: _ClassVar[int]
    SERIES_RUNS_FIELD_NUMBER: _ClassVar[int]
    TIME_RUNS_FIELD_NUMBER: _ClassVar[int]
    VALUE_HEADS_FIELD_NUMBER: _ClassVar[int]
    VALUE_BITS_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    series_ids: _containers.RepeatedScalarFieldContainer[int]
    base_timestamp_unix_ns: int
    timestamp_deltas_ns: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    dense_points: int
    series_runs: bytes
    time_runs: bytes
    value_heads: bytes
    value_bits: bytes
    references: int
    def __init__(self, series_ids: _Optional[_Iterable[int]] = ..., base_timestamp_unix_ns: _Optional[int] = ..., timestamp_deltas_ns: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ..., dense_points: _Optional[int] = ..., series_runs: _Optional[bytes] = ..., time_runs: _Optional[bytes] = ..., value_heads: _Optional[bytes] = ..., value_bits: _Optional[bytes] = ..., references: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("worker_id", "cpu_usage", "memory_usage", "gpu_usage", "running_tasks", "timestamp_unix_ns")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    CPU_USAGE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USAGE_FIELD_NUMBER: _ClassVar[int]
    GPU_USAGE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TASKS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    cpu_usage: float
    memory_usage: float
    gpu_usage: float
    running_tasks: _containers.RepeatedCompositeFieldContainer[RunningTask]
    timestamp_unix_ns: int
    def __init__(self, worker_id: _Optional[str] = ..., cpu_usage: _Optional[float] = ..., memory_usage: _Optional[float] = ..., gpu_usage: _Optional[float] = ..., running_tasks: _Optional[_Iterable[_Union[RunningTask, _Mapping]]] = ..., timestamp_unix_ns: _Optional[int] = ...) -> None: ...

class RunningTask(_message.Message):
    __slots__ = ("task_id", "name", "status", "started_unix_ns")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    name: str
    status: str
    started_unix_ns: int
    def __init__(self, task_id: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[str] = ..., started_unix_ns: _Optional[int] = ...) -> None: ...

class CompressedBody(_message.Message):
    __slots__ = ("algorithm", "uncompressed_size", "body")
    class Algorithm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ALGORITHM_UNSPECIFIED: _ClassVar[CompressedBody.Algorithm]
        GZIP: _ClassVar[CompressedBody.Algorithm]
        ZSTD: _ClassVar[CompressedBody.Algorithm]
    ALGORITHM_UNSPECIFIED: CompressedBody.Algorithm
    GZIP: CompressedBody.Algorithm
    ZSTD: CompressedBody.Algorithm
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    UNCOMPRESSED_SIZE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    algorithm: CompressedBody.Algorithm
    uncompressed_size: int
    body: bytes
    def __init__(self, algorithm: _Optional[_Union[CompressedBody.Algorithm, str]] = ..., uncompressed_size: _Optional[int] = ..., body: _Optional[bytes] = ...) -> None: ...

class BatchAck(_message.Message):
    __slots__ = ("sequence", "outcome", "accepted_points", "rejected_points", "rejections", "credit", "retry_after_ms")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_POINTS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_POINTS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    outcome: Outcome
    accepted_points: int
    rejected_points: int
    rejections: _containers.RepeatedCompositeFieldContainer[Rejection]
    credit: int
    retry_after_ms: int
    def __init__(self, sequence: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., accepted_points: _Optional[int] = ..., rejected_points: _Optional[int] = ..., rejections: _Optional[_Iterable[_Union[Rejection, _Mapping]]] = ..., credit: _Optional[int] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("reason", "points", "example")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Rejection.Reason]
        CARDINALITY_LIMIT: _ClassVar[Rejection.Reason]
        BATCH_TOO_LARGE: _ClassVar[Rejection.Reason]
        INVALID_NAME: _ClassVar[Rejection.Reason]
        INVALID_TAG: _ClassVar[Rejection.Reason]
        INVALID_VALUE: _ClassVar[Rejection.Reason]
        INVALID_TIMESTAMP: _ClassVar[Rejection.Reason]
        UNKNOWN_SERIES: _ClassVar[Rejection.Reason]
        IDENTITY_MISMATCH: _ClassVar[Rejection.Reason]
        NOT_IN_CATALOGUE: _ClassVar[Rejection.Reason]
        MALFORMED: _ClassVar[Rejection.Reason]
        WITHDRAWN: _ClassVar[Rejection.Reason]
    REASON_UNSPECIFIED: Rejection.Reason
    CARDINALITY_LIMIT: Rejection.Reason
    BATCH_TOO_LARGE: Rejection.Reason
    INVALID_NAME: Rejection.Reason
    INVALID_TAG: Rejection.Reason
    INVALID_VALUE: Rejection.Reason
    INVALID_TIMESTAMP: Rejection.Reason
    UNKNOWN_SERIES: Rejection.Reason
    IDENTITY_MISMATCH: Rejection.Reason
    NOT_IN_CATALOGUE: Rejection.Reason
    MALFORMED: Rejection.Reason
    WITHDRAWN: Rejection.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_FIELD_NUMBER: _ClassVar[int]
    reason: Rejection.Reason
    points: int
    example: str
    def __init__(self, reason: _Optional[_Union[Rejection.Reason, str]] = ..., points: _Optional[int] = ..., example: _Optional[str] = ...) -> None: ...
