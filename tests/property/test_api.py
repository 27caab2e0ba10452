"""The API against its own description: whatever the description lets a client ask, and what it does not, gets an answer
that the description has, and nothing makes it fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.support.api_thread import serving

from telemetry_collector.api.openapi import document
from telemetry_collector.api.workers import Heartbeat, TelemetryManager

WORKERS = ("worker-1", "rack 1/2", "ä\u2028\"'<b>", "..")
CHECKS = [
    *(not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance),
    unsupported_method,
]

schema = schemathesis.openapi.from_dict(document("1"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An API with workers."""
    manager = TelemetryManager()
    for number, worker in enumerate(WORKERS):
        tasks = [(str(number), worker, "running", number)] * number
        assert manager.process_heartbeat(Heartbeat(worker, "n", number / 10, 1.0, -1.0, tasks, 0))
    with serving(manager) as address:
        yield f"http://{address}"


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: Case[Any], url: str) -> None:
    case.call_and_validate(base_url=url, checks=CHECKS)
