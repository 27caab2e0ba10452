"""The `receivers` section: which protocols are listened to, and where."""

from typing import Literal

from pydantic import Field

from telemetry_collector.config.section import Address, Secret, Section, Text

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


class Receiver(Section):
    """One protocol's listener."""

    listen_addr: Address | None = Field(None, description="the address to listen on, as host:port, or null for off")
    tls: Literal["auto", "mutual", "server", "off"] = Field(
        "auto",
        description="mutual (clients show certificates), server (they need not), off, or auto: off on loopback, mutual "
        "elsewhere",
    )

    @property
    def security(self) -> Literal["mutual", "server", "off"]:
        """What `tls` means at this address."""
        if self.tls != "auto":
            return self.tls
        return "off" if self.listen_addr is not None and self.listen_addr.host in LOOPBACK_HOSTS else "mutual"


class OtlpReceiver(Receiver):
    """OTLP, over gRPC or HTTP."""

    ignored_attributes: tuple[Text, ...] = Field(
        ("process.", "telemetry.sdk.", "os.description"),
        description="beginnings of the names of resource attributes that do not become tags",
    )


class TaggedReceiver(Receiver):
    """A protocol whose tags may have other names here."""

    rename_tags: dict[Text, Text] = Field({}, description="tags by their name there, with their name here")
    token: Secret | None = Field(
        None, description="what a request has to bring as `Authorization: Token …` or `Bearer …`, or null"
    )


class InfluxReceiver(TaggedReceiver):
    """InfluxDB's line protocol over HTTP."""

    rename_tags: dict[Text, Text] = Field(
        {"host": "node_id"}, description="tags by their name there, with their name here"
    )


class Receivers(Section):
    """Every protocol besides our own; each is off until it has an address."""

    otlp_grpc: OtlpReceiver = Field(OtlpReceiver(), description="OTLP over gRPC")
    otlp_http: OtlpReceiver = Field(OtlpReceiver(), description="OTLP over HTTP")
    influx: InfluxReceiver = Field(InfluxReceiver(), description="InfluxDB line protocol over HTTP")
    remote_write: TaggedReceiver = Field(TaggedReceiver(), description="Prometheus' remote write")
