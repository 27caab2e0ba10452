"""The API's description of itself, in OpenAPI 3.1: what /openapi.json answers, and what its tests are made from."""

from __future__ import annotations

from typing import Any

_USAGE = {"type": "number", "minimum": -1, "maximum": 1}

_WORKER: dict[str, Any] = {
    "type": "object",
    "description": "What is known of a worker.",
    "properties": {
        "worker_id": {"type": "string", "description": "Its name: the node of the certificate that speaks for it."},
        "cpu_usage": {**_USAGE, "description": "0 to 1 of all its cores; negative: not known."},
        "memory_usage": {**_USAGE, "description": "0 to 1 of its memory; negative: not known."},
        "gpu_usage": {**_USAGE, "description": "0 to 1 of its busiest device; negative: it has none."},
        "running_tasks": {
            "type": "array",
            "maxItems": 1000,
            "items": {"$ref": "#/components/schemas/RunningTask"},
            "description": "What runs on it, as it says; the first 1,000.",
        },
        "last_update": {
            "type": "number",
            "minimum": 0,
            "description": "When it was last heard of, seconds since 1970 by the collector's clock.",
        },
        "is_active": {"type": "boolean", "description": "Whether that is less than 30 seconds ago."},
    },
    "required": [
        *("worker_id", "cpu_usage", "memory_usage", "gpu_usage", "running_tasks", "last_update", "is_active"),
    ],
    "additionalProperties": False,
}

_TASK: dict[str, Any] = {
    "type": "object",
    "description": "One task, in its worker's words.",
    "properties": {
        "task_id": {"type": "string"},
        "name": {"type": "string"},
        "status": {"type": "string"},
        "started_unix_secs": {"type": "number", "minimum": 0, "description": "Seconds since 1970; 0: not known."},
    },
    "required": ["task_id", "name", "status", "started_unix_secs"],
    "additionalProperties": False,
}

_HEALTH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "const": "healthy"},
        "time": {"type": "integer", "description": "Seconds since 1970."},
    },
    "required": ["status", "time"],
    "additionalProperties": False,
}

_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "What every answer is whose status is 400 or more.",
    "properties": {"error": {"type": "string"}, "status": {"type": "integer", "minimum": 400, "maximum": 599}},
    "required": ["error", "status"],
    "additionalProperties": False,
}

_MAP = {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Worker"}}


def _json(schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _get(name: str, summary: str, answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    error = _json({"$ref": "#/components/schemas/Error"}, "An error, as JSON.")
    return {"get": {"operationId": name, "summary": summary, **more, "responses": {"200": answer, "default": error}}}


def document(version: str) -> dict[str, Any]:
    """The whole description."""
    worker = {"$ref": "#/components/schemas/Worker"}
    by_name = _json(_MAP, "The workers by their names.")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Telemetry collector",
            "version": version,
            "description": "The workers of the fleet by their heartbeats. Everything is read only; GET and HEAD are "
            "all the methods there are.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/health": _get(
                "health", "Whether the collector answers", _json({"$ref": "#/components/schemas/Health"}, "It does.")
            ),
            "/telemetry": _get("telemetry", "All workers, active or not", by_name),
            "/telemetry/{worker_id}": {
                "parameters": [
                    {
                        "name": "worker_id",
                        "in": "path",
                        "required": True,
                        "description": "The worker's name, percent-encoded.",
                        "schema": {"type": "string", "minLength": 1},
                        "example": "worker-1",
                    }
                ],
                **_get("worker", "One worker; 404 when none has this name", _json(worker, "The worker.")),
            },
            "/workers": _get("workers", "The same as /telemetry", by_name),
        },
        "components": {"schemas": {"Worker": _WORKER, "RunningTask": _TASK, "Health": _HEALTH, "Error": _ERROR}},
    }
