"""The table of rules in docs/alerts.md is that of the rules."""

from pathlib import Path

from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.rules import rules

_DOCS = Path(__file__).parents[3] / "docs" / "alerts.md"


def test_every_rule_is_documented_as_it_is() -> None:
    """Each rule has its row, with the default thresholds; a rule that changed must be copied there."""
    text = _DOCS.read_text()
    for rule in rules(AlertsConfig()):
        assert f"| `{rule.name}` | {rule.severity} | {rule.condition} | {rule.advice} |\n" in text
