"""Selections and aggregations, from and to the messages that several methods have in common."""

from __future__ import annotations

from telemetry_collector.api.grpc.messages import telemetry_service_pb2 as service
from telemetry_collector.query import Aggregation, InvalidQuery, Operator, Selection, TagMatcher

_OPERATORS = {
    service.TagMatcher.EQUAL: Operator.EQUAL,
    service.TagMatcher.NOT_EQUAL: Operator.NOT_EQUAL,
    service.TagMatcher.MATCHES: Operator.MATCHES,
    service.TagMatcher.MATCHES_NOT: Operator.MATCHES_NOT,
}
_OPERATORS_THERE = {here: there for there, here in _OPERATORS.items()}


def selection_of(message: service.MetricSelection) -> Selection:
    """InvalidQuery names an operator that is not known; what else is wrong is found when it is used."""
    matchers = []
    for place, one in enumerate(message.matchers):
        operator = _OPERATORS.get(one.operator)
        if operator is None:
            known = ", ".join(service.TagMatcher.Operator.keys())
            raise InvalidQuery(f"selection.matchers[{place}].operator", f"{one.operator} is none; expected {known}")
        matchers.append(TagMatcher(one.key, operator, one.value))
    return Selection(message.name, tuple(matchers))


def selection_message(selection: Selection) -> service.MetricSelection:
    """The other way."""
    matchers = [
        service.TagMatcher(key=one.key, operator=_OPERATORS_THERE[one.operator], value=one.value)
        for one in selection.matchers
    ]
    return service.MetricSelection(name=selection.name, matchers=matchers)


def aggregation_of(number: int) -> Aggregation:
    """InvalidQuery when it is none."""
    names = {value: name for name, value in service.Aggregation.items()}
    name = names.get(number, "")
    try:
        return Aggregation[name.removeprefix("AGGREGATION_")]
    except KeyError as error:
        raise InvalidQuery(
            "aggregation", f"{name or number} is none; expected AGGREGATION_AVG or another one"
        ) from error


def aggregation_name(aggregation: Aggregation) -> str:
    """The other way, as a message's constructor takes it."""
    return f"AGGREGATION_{aggregation.name}"
