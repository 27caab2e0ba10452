"""AlertService: rules from messages, kept and told. Nothing evaluates them yet, and every answer says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any, Protocol, TypeVar

from telemetry_collector.alerts import AlertRule, AlertRules, Comparison, Severity
from telemetry_collector.api.grpc.calls import Code, Refusal
from telemetry_collector.api.grpc.messages import telemetry_pb2 as wire
from telemetry_collector.api.grpc.messages import telemetry_service_pb2 as service
from telemetry_collector.api.grpc.selections import (
    aggregation_name,
    aggregation_of,
    selection_message,
    selection_of,
)
from telemetry_collector.query import InvalidQuery, give_way

EVALUATION = "not evaluated yet"

_Choice = TypeVar("_Choice", bound=Enum)
_Changed = TypeVar("_Changed")


class _Numbers(Protocol):
    """A generated enumeration."""

    def items(self) -> Sequence[tuple[str, Any]]: ...


class Alerting:
    """The methods that change and tell the rules."""

    def __init__(self, rules: AlertRules) -> None:
        self._rules = rules
        # One change at a time, on a thread that whoever else needs one does not wait for: some take seconds.
        self._changes = ThreadPoolExecutor(1, "alert-rules", initializer=give_way)

    async def configure(self, asked: service.ConfigureAlertRequest) -> service.ConfigureAlertResponse:
        """Keeps a rule; answers when it is on the disk."""
        try:
            rule = _rule_of(asked.rule)
            replaced = await self._change(lambda: self._rules.put(rule))
        except InvalidQuery as error:
            raise Refusal(Code.INVALID_ARGUMENT, f"rule.{error}") from error
        return service.ConfigureAlertResponse(rule=_message(rule), replaced=replaced, evaluation=EVALUATION)

    async def list(self, _asked: service.ListAlertsRequest) -> service.ListAlertsResponse:
        """All rules."""
        return service.ListAlertsResponse(rules=[_message(rule) for rule in self._rules.all], evaluation=EVALUATION)

    async def delete(self, asked: service.DeleteAlertRequest) -> service.DeleteAlertResponse:
        """Forgets a rule; answers when that is on the disk."""
        if not await self._change(lambda: self._rules.delete(asked.name)):
            raise Refusal(Code.NOT_FOUND, f"there is no rule {asked.name[:200]!r}")
        return service.DeleteAlertResponse()

    async def _change(self, change: Callable[[], _Changed]) -> _Changed:
        return await asyncio.get_running_loop().run_in_executor(self._changes, change)


def _rule_of(message: service.AlertRule) -> AlertRule:
    return AlertRule(
        name=message.name,
        selection=selection_of(message.selection),
        aggregation=aggregation_of(message.aggregation),
        quantiles=tuple(message.quantiles),
        window_ns=message.window_ns,
        group_by=tuple(message.group_by),
        comparison=_named(Comparison, service.AlertRule.Comparison, message.comparison, "comparison"),
        threshold=message.threshold,
        for_ns=message.for_ns,
        severity=_named(Severity, service.AlertRule.Severity, message.severity, "severity"),
        labels=tuple((label.key, label.value) for label in message.labels),
    )


def _message(rule: AlertRule) -> service.AlertRule:
    return service.AlertRule(
        name=rule.name,
        selection=selection_message(rule.selection),
        aggregation=aggregation_name(rule.aggregation),
        quantiles=rule.quantiles,
        window_ns=rule.window_ns,
        group_by=rule.group_by,
        comparison=rule.comparison.name,
        threshold=rule.threshold,
        for_ns=rule.for_ns,
        severity=rule.severity.name,
        labels=[wire.Tag(key=key, value=value) for key, value in rule.labels],
    )


def _named(kind: type[_Choice], there: _Numbers, number: int, field: str) -> _Choice:
    """The member that has the number's name there."""
    names = {value: name for name, value in there.items()}
    name = names.get(number, "")
    if name not in kind.__members__:
        raise InvalidQuery(field, f"{name or number} is none; expected {', '.join(kind.__members__)}")
    return kind[name]
