"""AlertService: rules are validated, kept for good, told and forgotten; nothing evaluates them yet, and it says so."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.integration.api.conftest import Served, serving
from tests.support.grpc_client import service, wire

from telemetry_collector.alerts import RulesUnreadable, rules
from telemetry_collector.query import Selection
from telemetry_collector.security.authority import Files

SECOND = 1_000_000_000


def rule(**given: Any) -> Any:
    fields: dict[str, Any] = {
        "name": "hot-gpu",
        "selection": service.MetricSelection(
            name="gpu.temperature",
            matchers=[service.TagMatcher(key="zone", operator=service.TagMatcher.MATCHES, value="eu-.*")],
        ),
        "aggregation": service.AGGREGATION_QUANTILE,
        "quantiles": [0.9],
        "window_ns": 60 * SECOND,
        "group_by": ["node_id"],
        "comparison": service.AlertRule.ABOVE,
        "threshold": 85.5,
        "for_ns": 300 * SECOND,
        "severity": service.AlertRule.CRITICAL,
        "labels": [wire.Tag(key="team", value='it\'s "hardware"')],
        **given,
    }
    return service.AlertRule(**fields)


async def configured(served: Served, one: Any) -> Any:
    return await served.alerts.ConfigureAlert(service.ConfigureAlertRequest(rule=one))


async def listed(served: Served) -> list[Any]:
    answer = await served.alerts.ListAlerts(service.ListAlertsRequest())
    assert answer.evaluation == "not evaluated yet"
    return list(answer.rules)


async def test_a_rule_is_told_as_it_was_given_also_after_a_restart(tmp_path: Path, certificates: Files) -> None:
    async with serving(tmp_path, certificates) as served:
        answer = await configured(served, rule())
        assert (answer.rule, answer.replaced, answer.evaluation) == (rule(), False, "not evaluated yet")
        assert (await configured(served, rule(threshold=90.0))).replaced
        await configured(served, rule(name="a", aggregation=service.AGGREGATION_RATE, quantiles=[], labels=[]))
    async with serving(tmp_path, certificates) as served:
        found = await listed(served)
        assert [one.name for one in found] == ["a", "hot-gpu"]
        assert found[1] == rule(threshold=90.0)
        await served.alerts.DeleteAlert(service.DeleteAlertRequest(name="a"))
    async with serving(tmp_path, certificates) as served:
        assert [one.name for one in await listed(served)] == ["hot-gpu"]
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await served.alerts.DeleteAlert(service.DeleteAlertRequest(name="a"))
        assert (unknown.value.code(), unknown.value.details()) == (
            grpc.StatusCode.NOT_FOUND,
            "there is no rule 'a'",
        )


WRONG: Sequence[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "rule.name: '' is no rule's name"),
    ({"name": "a/b"}, "rule.name: "),
    ({"name": "x" * 129}, "rule.name: "),
    ({"selection": service.MetricSelection()}, "rule.selection.name: has 0 bytes"),
    (
        {"selection": service.MetricSelection(name="m", matchers=[service.TagMatcher(key="k", operator=2, value="(")])},
        "rule.selection.matchers[0].value: is no regular expression",
    ),
    ({"aggregation": 0}, "rule.aggregation: "),
    ({"quantiles": []}, "rule.quantiles: "),
    ({"quantiles": [0.5, 0.9]}, "rule.quantiles: there are 2; expected one"),
    ({"window_ns": 0}, "rule.window_ns: is 0; expected one second to 31 days"),
    ({"group_by": ["a", "a"]}, "rule.group_by[1]: "),
    ({"comparison": 0}, "rule.comparison: COMPARISON_UNSPECIFIED is none; expected ABOVE, AT_LEAST"),
    ({"comparison": 77}, "rule.comparison: 77 is none"),
    ({"threshold": math.nan}, "rule.threshold: "),
    ({"for_ns": 32 * 86_400 * SECOND}, "rule.for_ns: "),
    ({"severity": 0}, "rule.severity: SEVERITY_UNSPECIFIED is none; expected INFO, WARNING, CRITICAL"),
    ({"labels": [wire.Tag(key="", value="v")]}, "rule.labels[0].key: "),
    ({"labels": [wire.Tag(key="k", value="v" * 1_025)]}, "rule.labels[0].value: "),
    ({"labels": [wire.Tag(key="k"), wire.Tag(key="k")]}, "rule.labels[1].key: k is there twice"),
    ({"labels": [wire.Tag(key=str(number)) for number in range(33)]}, "rule.labels: there are 33"),
]
"""What a rule cannot have, and how the answer begins."""


async def test_what_is_wrong_with_a_rule_is_told_by_its_field(served: Served) -> None:
    for given, problem in WRONG:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await configured(served, rule(**given))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith(problem), refused.value.details()
    assert await listed(served) == []
    assert not served.rules_path.exists()
    assert served.calls("ConfigureAlert", "INVALID_ARGUMENT") == len(WRONG)


async def test_there_are_at_most_so_many_rules(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES_MAX", 2)
    for name in ("a", "b", "b"):
        await configured(served, rule(name=name))
    with pytest.raises(grpc.aio.AioRpcError) as full:
        await configured(served, rule(name="c"))
    assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [one.name for one in await listed(served)] == ["a", "b"]


async def test_all_rules_that_are_kept_fit_into_one_answer(served: Served) -> None:
    """Rules at all their bounds are 50 KiB each; a thousand of them would be more than a message may have."""
    matchers = [service.TagMatcher(key="k" * 128, value="v" * 1_024) for _ in range(16)]
    labels = [wire.Tag(key=f"k{number:0127}", value="v" * 1_024) for number in range(32)]
    selection = service.MetricSelection(name="n" * 255, matchers=matchers)
    large = [rule(name=f"{number}", selection=selection, labels=labels) for number in range(200)]
    kept = 0
    with suppress(grpc.aio.AioRpcError):
        for kept, one in enumerate(large):  # noqa: B007  # how many were kept is looked at below
            await configured(served, one)
    with pytest.raises(grpc.aio.AioRpcError, match="all rules together would have") as full:
        await configured(served, large[-1])
    assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(await listed(served)) == kept > 50
    await served.alerts.DeleteAlert(service.DeleteAlertRequest(name="0"))
    await configured(served, rule())


async def test_expressions_are_compiled_on_a_thread_and_not_again_at_the_next_start(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    monkeypatch.setattr(
        Selection, "check_expressions", lambda _selection: threads.append(threading.current_thread().name)
    )
    for _ in range(2):
        async with serving(tmp_path, certificates) as served:
            if not threads:
                await configured(served, rule())
            assert await listed(served) == [rule()]
    assert threads == ["alert-rules_0"]


async def test_a_rule_that_cannot_be_kept_is_not_in_force(served: Served) -> None:
    """The client hears INTERNAL, and a rule that the disk does not have is not told either."""
    (served.directory / "rules.json.new").mkdir()
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await configured(served, rule())
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert await listed(served) == []
    assert served.calls("ConfigureAlert", "INTERNAL") == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "rules": []}', '{"format": 1, "rules": [{}]}', "\xff"])
async def test_rules_that_cannot_be_read_stop_the_start_and_are_left_alone(
    tmp_path: Path, certificates: Files, text: str
) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RulesUnreadable, match=r"grpc\.alert_rules_path"):
        async with serving(tmp_path, certificates):
            pass
    assert path.read_bytes() == text.encode("latin-1")


async def test_the_file_is_replaced_whole(served: Served) -> None:
    await configured(served, rule())
    before = served.rules_path.stat().st_ino
    await configured(served, rule(name="b"))
    assert served.rules_path.stat().st_ino != before
    assert json.loads(served.rules_path.read_text())["format"] == 1
    assert not served.rules_path.with_name("rules.json.new").exists()
