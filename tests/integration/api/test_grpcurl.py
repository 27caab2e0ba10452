"""grpcurl, a client in Go that knows the services from what they tell of themselves, or from the files in proto/."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.api.conftest import Served, serving
from tests.integration.api.test_collect import stored
from tests.support import clients
from tests.support.clients import Done
from tests.support.documents import server_tls
from tests.support.repository import REPOSITORY

from telemetry_collector.security.authority import Files

PROTO = ("-import-path", str(REPOSITORY / "proto"), "-proto", "telemetry_service.proto")
SERVICES = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "telemetry.v1.AlertService",
    "telemetry.v1.TelemetryService",
}


async def grpcurl(*arguments: str, data: Any = None) -> Done:
    given = ("-d", "@") if data is not None else ()
    messages = data if isinstance(data, list) else [data]
    body = "\n".join(json.dumps(message) for message in messages).encode() if data is not None else b""
    return await clients.run((*clients.program("grpcurl"), *given, *arguments), data=body)


async def asked(served: Served, method: str, data: Any = None, *flags: str) -> Any:
    """What a method answers."""
    done = await grpcurl("-plaintext", *flags, str(served.collector.grpc_addr), method, data=data)
    assert done.status == 0, done.error
    # It knows fields by their names in the files from reflection, and by those of JSON from the files themselves.
    return json.loads(re.sub(r'"([a-z]+(?:[A-Z][a-z]+)+)":', lambda key: snake(key.group()), done.out))


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter.group().lower()}", name)


async def refused(served: Served, method: str, data: Any) -> tuple[str, str]:
    """The code and the message that a method refuses with."""
    done = await grpcurl("-plaintext", str(served.collector.grpc_addr), method, data=data)
    assert done.status != 0, done.out
    found = re.fullmatch(r"ERROR:\n  Code: (\w+)\n  Message: (.*)\n", done.error, re.DOTALL)
    assert found, done.error
    return found[1], found[2]


async def test_it_finds_what_is_served_and_that_it_is_well(served: Served) -> None:
    address = str(served.collector.grpc_addr)
    listed = await grpcurl("-plaintext", address, "list")
    assert (listed.status, set(listed.out.split())) == (0, SERVICES)
    described = await grpcurl("-plaintext", address, "describe", "telemetry.v1.QueryMetricsRequest")
    assert "fixed64 start_unix_ns = 2;" in described.out
    for service in ("", "telemetry.v1.TelemetryService"):
        assert await asked(served, "grpc.health.v1.Health/Check", {"service": service}) == {"status": "SERVING"}
    assert (await refused(served, "grpc.health.v1.Health/Check", {"service": "other"}))[0] == "NotFound"
    health = await asked(served, "telemetry.v1.TelemetryService/GetHealth", {})
    assert (health["ok"], health["ready"]) == (True, True)


@pytest.mark.parametrize("known_from", ["reflection", "files"])
async def test_batches_go_in_and_questions_are_answered(served: Served, known_from: str) -> None:
    flags = PROTO if known_from == "files" else ()
    moment = time.time_ns() // 1_000 * 1_000 - 10**10
    batches = [
        {
            "epoch": 7,
            "sequence": number,
            "common_tags": [{"key": "node_id", "value": "node-1"}],
            "metrics": [
                {"name": "door.open", "unit": "1", "value": number, "timestamp_unix_ns": moment + 1_000 * number}
            ],
        }
        for number in (1, 2, 2, 3)
    ]
    summary = await asked(served, "telemetry.v1.TelemetryService/CollectMetrics", batches, *flags)
    assert summary == {"batches": "4", "stored": "3", "duplicate": "1", "accepted_points": "3"}
    assert await stored(served, 3) == [(1.0, "grpc", 1), (2.0, "grpc", 2), (3.0, "grpc", 3)]
    question = {
        "selection": {"name": "door.*", "matchers": [{"key": "node_id", "value": "node-1"}]},
        "start_unix_ns": moment,
        "aggregation": "AGGREGATION_AVG",
        "group_by": ["node_id"],
    }
    answer = await asked(served, "telemetry.v1.TelemetryService/QueryMetrics", question, *flags)
    (series,) = answer["series"]
    assert (series["name"], series["tags"]) == ("door.open", [{"key": "node_id", "value": "node-1"}])
    assert series["points"] == [{"start_unix_ns": str(moment), "values": [2]}]


async def test_rules_are_kept_listed_and_forgotten(served: Served) -> None:
    rule = {
        "name": "hot-gpu",
        "selection": {"name": "gpu.temperature"},
        "aggregation": "AGGREGATION_MAX",
        "window_ns": "60000000000",
        "group_by": ["node_id"],
        "comparison": "ABOVE",
        "threshold": 85,
        "severity": "CRITICAL",
    }
    kept = await asked(served, "telemetry.v1.AlertService/ConfigureAlert", {"rule": rule})
    assert kept == {"rule": rule, "evaluation": "not evaluated yet"}
    assert (await asked(served, "telemetry.v1.AlertService/ListAlerts", {}))["rules"] == [rule]
    assert await asked(served, "telemetry.v1.AlertService/DeleteAlert", {"name": "hot-gpu"}) == {}
    assert (await asked(served, "telemetry.v1.AlertService/ListAlerts", {})) == {"evaluation": "not evaluated yet"}


async def test_what_is_wrong_has_its_code_and_says_what_would_be_right(served: Served) -> None:
    assert await refused(served, "telemetry.v1.AlertService/DeleteAlert", {"name": "a"}) == (
        "NotFound",
        "there is no rule 'a'",
    )
    code, message = await refused(served, "telemetry.v1.AlertService/ConfigureAlert", {"rule": {"name": "a/b"}})
    assert (code, message.startswith("rule.aggregation: AGGREGATION_UNSPECIFIED is none; ")) == (
        "InvalidArgument",
        True,
    )
    question = {"selection": {"name": "m"}, "start_unix_ns": "1000000000000000000", "aggregation": "AGGREGATION_SUM"}
    code, message = await refused(served, "telemetry.v1.TelemetryService/QueryMetrics", question)
    assert (code, "query.range_secs_max" in message) == ("InvalidArgument", True)


async def test_certificates_are_asked_for_and_judged(tmp_path: Path, certificates: Files) -> None:
    directory = certificates.ca.parent
    security = {"allowed_identities": ["*node-1"]}
    sections: dict[str, Any] = {"security": {**server_tls(certificates), **security}, "grpc": {"tls": "mutual"}}
    async with serving(tmp_path, certificates, **sections) as served:
        address, method = str(served.collector.grpc_addr), "telemetry.v1.TelemetryService/GetHealth"

        async def shown(*names: str) -> Done:
            flags = [
                flag
                for name in names
                for flag in ("-cert", str(directory / f"{name}.pem"), "-key", str(directory / f"{name}.key"))
            ]
            return await grpcurl("-cacert", str(certificates.ca), "-max-time", "5", *flags, address, method)

        allowed, other, nobody = await shown("node"), await shown("node-2"), await shown()
    assert (allowed.status, json.loads(allowed.out)["ok"]) == (0, True)
    assert other.status != 0
    assert "PermissionDenied" in other.error
    assert "security.allowed_identities" in other.error
    assert nobody.status != 0
    assert "Failed to dial" in nobody.error
