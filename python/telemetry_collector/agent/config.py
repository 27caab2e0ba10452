"""The `agent` section of an agent's configuration."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from telemetry_collector.agent.monitors.config import MonitorsConfig
from telemetry_collector.agent.peers import NetworkConfig
from telemetry_collector.agent.sampling import RATE_LEAST
from telemetry_collector.config import SOCKET_PATH_BYTES_MAX, Address, PositiveInt, Seconds, Section, Text
from telemetry_collector.model import STANDARD_TAGS
from telemetry_collector.sender import TransportName, settings

SourceName = Literal["cpu", "memory", "disk", "network", "host", "gpu", "agent"]
SOURCES: tuple[SourceName, ...] = ("cpu", "memory", "disk", "network", "host", "gpu", "agent")

_MIB = 1024 * 1024
_GIB = 1024 * _MIB


def _reachable(address: Address) -> Address:
    if address.port == 0:
        raise ValueError("expected a port from 1, such as collector.example:5001")
    return address


def _fits(text: str, bytes_max: int) -> str:
    if len(text.encode()) > bytes_max or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError(f"expected at most {bytes_max} bytes without control characters")
    return text


def _bindable(path: Path) -> Path:
    if len(bytes(path)) > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"expected a path of at most {SOCKET_PATH_BYTES_MAX} bytes, as unix sockets have")
    return path


Collector = Annotated[Address, AfterValidator(_reachable)]
TagKey = Annotated[str, StringConstraints(min_length=1), AfterValidator(lambda text: _fits(text, 128))]
TagValue = Annotated[str, StringConstraints(min_length=1), AfterValidator(lambda text: _fits(text, 1_024))]


class SamplingRuleConfig(Section):
    """How far metrics may be left out whose names fit a pattern."""

    pattern: Text = Field(max_length=256, description="a pattern of metrics' names, such as system.disk.*")
    importance: Literal["critical", "high", "normal", "low"] = Field(
        "normal", description="critical (all is kept), high (half at least), normal (a tenth) or low (a hundredth)"
    )
    rate_min: float | None = Field(
        None, ge=RATE_LEAST, le=1, description="the share that is kept in any case, or null for the importance's"
    )


SAMPLING_RULES = (
    SamplingRuleConfig(pattern="agent.*", importance="critical"),
    SamplingRuleConfig(pattern="service.*", importance="critical"),
    SamplingRuleConfig(pattern="network.peer.*", importance="high"),
    SamplingRuleConfig(pattern="process.*", importance="low"),
    SamplingRuleConfig(pattern="system.cpu.core.*", importance="low"),
)


class SamplingConfig(Section):
    """What is left out when the agent, or its collector, has too much to do."""

    enabled: bool = Field(True, description="whether anything is left out at all")
    rules: tuple[SamplingRuleConfig, ...] = Field(
        SAMPLING_RULES, max_length=64, description="the first that fits a name counts; normal where none does"
    )
    high_mark: float = Field(0.8, gt=0, le=10, description="the part of a budget above which more is left out")
    low_mark: float = Field(0.5, gt=0, le=10, description="the part below which less is left out")
    step_secs: Seconds = Field(10.0, description="how often the rates may move")

    @model_validator(mode="after")
    def _marks_are_apart(self) -> Self:
        if self.low_mark >= self.high_mark:
            raise ValueError(
                f"low_mark {self.low_mark:g} is not below high_mark {self.high_mark:g}; expected a lower one"
            )
        return self


class ResourcesConfig(Section):
    """What the agent itself may use; above it, less is read and sent. Nothing is enforced beyond that."""

    max_cpu_percent: float | None = Field(
        5.0, gt=0, le=100_000, description="percent of one processor, or null for no bound"
    )
    max_memory_mb: int | None = Field(256, ge=16, le=1_048_576, description="MiB of memory, or null for no bound")
    max_disk_mb: int | None = Field(
        None, ge=16, le=1_073_741_824, description="MiB of the spool's files, or null for spool_bytes_max"
    )


class NodeAgentConfig(Section):
    """What a node agent reads, how often, and where it sends it."""

    collectors: tuple[Collector, ...] = Field(
        (Address("127.0.0.1", 5001),),
        min_length=1,
        max_length=16,
        description="collectors as host:port, the preferred one first",
    )
    server_name: Text | None = Field(
        None, description="the name in the collectors' certificates, or null for the host of each"
    )
    interval_secs: Seconds = Field(10.0, description="how often metrics are read")
    heartbeat_secs: Seconds = Field(5.0, description="how often a heartbeat is sent")
    node_id: TagValue | None = Field(
        None, description="the node that the metrics are of, or null for the one in the certificate"
    )
    region: TagValue | None = Field(None, description="the tag region of every metric, or null for none")
    zone: TagValue | None = Field(None, description="the tag zone of every metric, or null for none")
    service: TagValue | None = Field("node", description="the tag service of every metric, or null for none")
    version: TagValue | None = Field(None, description="the tag version of every metric, or null for the agent's own")
    tags: dict[TagKey, TagValue] = Field(
        default_factory=dict, max_length=32, description="further tags of every metric, at most 32"
    )
    sources: tuple[SourceName, ...] = Field(SOURCES, description="what is read")
    per_cpu: bool = Field(False, description="whether the usage of each processor is read too")
    processes_top: int = Field(
        0, ge=0, le=100, description="of how many programs processor time and memory are read; 0 for none"
    )
    disk_exclude: tuple[Text, ...] = Field(
        ("loop*", "ram*", "zram*"), description="patterns of block devices that are left out"
    )
    network_exclude: tuple[Text, ...] = Field(
        ("lo", "veth*"), description="patterns of network interfaces that are left out"
    )
    monitors: MonitorsConfig = Field(MonitorsConfig(), description="the services that are looked at")
    network: NetworkConfig = Field(
        NetworkConfig(), description="the nodes that are probed, and where probes are answered"
    )
    resources: ResourcesConfig = Field(ResourcesConfig(), description="what the agent itself may use")
    sampling: SamplingConfig = Field(SamplingConfig(), description="what is left out when there is too much")
    batch_points_max: int = Field(1_000, ge=1, le=1_000_000, description="points of one batch")
    readings_per_batch: int = Field(
        1, ge=1, le=100, description="readings that go in one batch, which waits until it has them"
    )
    form: Literal["dense", "columnar", "row"] = Field(
        "dense", description="how points are written; dense takes the fewest bytes"
    )
    compression: Literal["none", "gzip", "zstd"] = Field("zstd", description="how batches are compressed")
    spool_dir: Path | None = Field(
        Path("/var/lib/horizon/spool"),
        description="where batches wait for their answer, of this agent alone; null to keep them in memory",
    )
    spool_bytes_max: int = Field(_GIB, ge=_MIB, description="disk for batches that wait")
    backlog_share: float = Field(
        0.25, gt=0, le=1, description="part of the window that batches from before the connection may take"
    )
    outbox_points_max: PositiveInt = Field(1_000_000, description="points kept in memory where there is no spool")
    outbox_bytes_max: int = Field(64 * _MIB, ge=_MIB, description="memory for points that wait")
    transport: TransportName = Field(
        default_factory=lambda: settings.TRANSPORT_DEFAULT,
        description="what speaks QUIC: quinn, or aioquic where the extension is built without it",
    )
    max_datagram_size: int = Field(1_200, ge=1_200, le=9_000, description="bytes of QUIC in one datagram")
    socket: Annotated[Path, AfterValidator(_bindable)] | None = Field(
        None, description="unix socket at which services beside the agent hand over metrics, or null for none"
    )
    socket_mode: Annotated[str, StringConstraints(pattern="^0?[0-7]{3}$")] = Field(
        "0660", description="who may write to the socket, as chmod has it"
    )
    socket_group: Text | None = Field(None, description="the socket's group, or null for the agent's own")
    socket_clients_max: int = Field(64, ge=1, le=1_024, description="services that may be connected to the socket")
    drain_secs: Seconds = Field(5.0, description="how long stopping waits for acknowledgements")

    @field_validator("transport")
    @classmethod
    def _is_in_this_build(cls, transport: TransportName) -> TransportName:
        if transport == "quinn" and not settings.has_quinn():
            raise ValueError(
                "this build of the extension has no quinn (its Cargo feature of that name is off); expected aioquic"
            )
        return transport

    @model_validator(mode="after")
    def _tags_are_told_once(self) -> Self:
        twice = [key for key in self.tags if key in STANDARD_TAGS]
        if twice:
            raise ValueError(f"tags has {twice[0]}, which is a key of its own; expected agent.{twice[0]}")
        return self
