"""Alert rules: what they may say, and where they are kept. Nothing evaluates them yet."""

from telemetry_collector.alerts.rule import AlertRule, Comparison, Severity
from telemetry_collector.alerts.rules import AlertRules, RulesUnreadable, TooManyRules

__all__ = ["AlertRule", "AlertRules", "Comparison", "RulesUnreadable", "Severity", "TooManyRules"]
