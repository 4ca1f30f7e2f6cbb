"""What a backup calls the files that a collector has beside its store."""

from __future__ import annotations

ALERTS = "alerts.sqlite"


def beside(alerts: str) -> dict[str, str]:
    """Return the paths of a collector's files by what they are called in a backup."""
    return {ALERTS: alerts}
