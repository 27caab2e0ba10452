"""All rules, in one file that is replaced whole: written aside, synced, renamed, and its directory synced.

A change is in force when it is durable, and not before. The file says which format it has; a newer one is refused.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Final

from telemetry_collector.alerts.rule import AlertRule
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.query import InvalidQuery
from telemetry_collector.store.durable import sync_directory

RULES_MAX: Final = 1_000
RULES_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the file; what ListAlerts answers is smaller, and fits into one message."""
FORMAT: Final = 1


class RulesUnreadable(TelemetryCollectorError):
    """The file has something else than rules; nothing is changed in it."""


class TooManyRules(TelemetryCollectorError):
    """There is no room for another one."""


class AlertRules:
    """The rules of one collector. Safe from several threads; changes sync the disk, and so take their time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rules: dict[str, AlertRule] = {}
        self._change = threading.Lock()

    def load(self) -> None:
        """Reads what is kept; no file is no rules. RulesUnreadable when it cannot be used."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise RulesUnreadable(
                f"cannot read the alert rules {self._path} (grpc.alert_rules_path): {error}"
            ) from error
        try:
            kept = json.loads(text)
            if kept["format"] != FORMAT:
                raise RulesUnreadable(
                    f"the alert rules {self._path} (grpc.alert_rules_path) have format {kept['format']}; "
                    f"this version knows {FORMAT}"
                )
            self._rules = {rule.name: rule for rule in map(AlertRule.from_json, kept["rules"])}
        except (KeyError, TypeError, ValueError, InvalidQuery) as error:
            raise RulesUnreadable(
                f"the alert rules {self._path} (grpc.alert_rules_path) are damaged: {error!r}; expected the file as "
                "the collector left it, or none"
            ) from error

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def all(self) -> list[AlertRule]:
        """By name."""
        rules = self._rules
        return [rules[name] for name in sorted(rules)]

    def put(self, rule: AlertRule) -> bool:
        """Keeps a rule; whether it took the place of another one. InvalidQuery, TooManyRules or OSError: it is not in
        force. Not for an event loop (see `Selection.check_expressions`); `load` trusts what was looked at here.
        """
        rule.selection.check_expressions()
        with self._change:
            replaced = rule.name in self._rules
            if not replaced and len(self._rules) >= RULES_MAX:
                raise TooManyRules(f"there are {RULES_MAX} rules, which is the most that are kept; delete one first")
            self._write({**self._rules, rule.name: rule})
            return replaced

    def delete(self, name: str) -> bool:
        """Forgets a rule; whether there was one. OSError: it is still in force."""
        with self._change:
            if name not in self._rules:
                return False
            self._write({kept: rule for kept, rule in self._rules.items() if kept != name})
            return True

    def _write(self, rules: dict[str, AlertRule]) -> None:
        kept = {"format": FORMAT, "rules": [rules[name].as_json() for name in sorted(rules)]}
        text = json.dumps(kept, indent=1) + "\n"
        if len(text) > RULES_BYTES_MAX and len(rules) >= len(self._rules):
            raise TooManyRules(
                f"all rules together would have {len(text)} bytes; expected at most {RULES_BYTES_MAX}: a shorter one, "
                "or one less"
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_name(self._path.name + ".new")
        with aside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._path)
        sync_directory(self._path.parent)
        self._rules = rules
