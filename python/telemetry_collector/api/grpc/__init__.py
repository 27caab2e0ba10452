"""The gRPC service: batches by client streams, questions about what is stored, health, alert rules.

    client ─► GrpcServer (address, socket, TLS, reflection, standard health) ─► Calls (peer, status codes, counter)
                 ├─► Collecting ─► BatchConsumer, as bytes; BatchAcks come back after the commit
                 ├─► Querying ─► query.Engine
                 ├─► Alerting ─► alerts.AlertRules
                 └─► Reporting ─► the collector's own report

Batches are not decoded here. docs/grpc.md is for clients. This package is imported only where the service is on: gRPC
takes its time and memory.
"""

from telemetry_collector.api.grpc.alerting import Alerting
from telemetry_collector.api.grpc.calls import Calls
from telemetry_collector.api.grpc.collecting import Collecting
from telemetry_collector.api.grpc.events import GrpcEvents
from telemetry_collector.api.grpc.peers import Peers
from telemetry_collector.api.grpc.querying import Querying
from telemetry_collector.api.grpc.reporting import Reporting
from telemetry_collector.api.grpc.server import GrpcServer

__all__ = ["Alerting", "Calls", "Collecting", "GrpcEvents", "GrpcServer", "Peers", "Querying", "Reporting"]
