"""Asking a running collector's API, for commands."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final
from urllib.parse import quote

from telemetry_collector.api import NO_SUCH_WORKER
from telemetry_collector.config import Address
from telemetry_collector.errors import AddressError

ANSWER_SECS_MAX: Final = 5.0
"""How long to wait for a connection, and for each part of an answer."""
ANSWER_BYTES_MAX: Final = 512 * 1024 * 1024
"""A longer answer is none of a collector."""


def workers(address: Address) -> dict[str, dict[str, Any]]:
    """All workers by their names. AddressError says what was asked where, and what keeps it from answering."""
    status, found = _get(address, "/workers")
    if status != http.client.OK or not isinstance(found, dict):
        raise _stranger(address, f"it answers {status} to /workers")
    return found


def worker(address: Address, worker_id: str) -> dict[str, Any] | None:
    """One worker; None when the collector knows none of this name. AddressError as of `workers`."""
    status, found = _get(address, f"/telemetry/{quote(worker_id, safe='')}")
    problem = found.get("error") if isinstance(found, dict) else None
    if status == http.client.NOT_FOUND and str(problem).startswith(NO_SUCH_WORKER):
        return None
    if status != http.client.OK or not isinstance(found, dict) or found.get("worker_id") != worker_id:
        raise _stranger(address, f"it answers {status} to /telemetry")
    return found


def _get(address: Address, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=ANSWER_SECS_MAX)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        data = answer.read(ANSWER_BYTES_MAX + 1)
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise AddressError(
            f"cannot reach a collector's API at http://{address}: {reason}; expected a collector that runs there: "
            "its keys api.http_addr and api.http_port (or HTTP_PORT in its environment) say where it listens, and "
            "--addr says where to ask"
        ) from error
    except http.client.HTTPException as error:
        raise _stranger(address, f"its answer is no HTTP ({type(error).__name__})") from error
    finally:
        connection.close()
    if len(data) > ANSWER_BYTES_MAX:
        raise _stranger(address, "its answer does not end")
    try:
        return answer.status, json.loads(data)
    except ValueError as error:
        raise _stranger(address, f"its answer to {path} is no JSON") from error


def _stranger(address: Address, problem: str) -> AddressError:
    return AddressError(
        f"what listens at http://{address} is no collector's API: {problem}; expected --addr to name what a "
        "collector's api.http_addr and api.http_port (or HTTP_PORT in its environment) say"
    )
