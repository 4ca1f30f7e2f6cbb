"""What Grafana does with a dashboard's questions before it sends them to InfluxDB, for InfluxQL.

Grafana itself does not run in the tests. Variables go by its `regex` format, in which its InfluxDB data
source asks, macros as its back end replaces them, and intervals by its table of round lengths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from joulebook.collector.store.influxdb_http import InfluxServer, Series

# ([[var]], $var, ${var}, ${var.field}, each with a format or without)
_VARIABLE = re.compile(r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?::([^}]+))?\}")
_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")
_MAX_POINTS = 1000
# Grafana's round intervals: (below this, this one), ms.
_ROUND_MS = (
    (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1500, 1000), (3500, 2000),
    (7500, 5000), (12500, 10000), (17500, 15000), (25000, 20000), (45000, 30000), (90000, 60000),
    (210000, 120000), (450000, 300000), (750000, 600000), (1050000, 900000), (1500000, 1200000),
    (2700000, 1800000), (5400000, 3600000), (9000000, 7200000), (16200000, 10800000), (32400000, 21600000),
    (86400000, 43200000),
)  # fmt: skip
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen of a variable. whole: All, with the variable's own value for it."""

    values: tuple[str, ...] = ()
    whole: str | None = None

    def formatted(self, how: str) -> str:
        """Return it as Grafana writes it: a custom value for All as it is."""
        if self.whole is not None:
            return self.whole
        if how != "regex":
            raise ValueError(f"format {how!r}: expected regex, the one that the dashboards use")
        escaped = [escape(value) for value in self.values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def escape(value: str) -> str:
    """Escape what means something in a pattern, and the slash that would end it."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], value)


def milliseconds(length: str) -> int:
    """Read an interval like 10s."""
    parsed = re.fullmatch(r"(\d+)(ms|s|m|h|d)", length)
    assert parsed, length
    return int(parsed[1]) * _UNITS_MS[parsed[2]]


def interval_ms(range_ms: int, least: str) -> int:
    """Return the length of the buckets of a range: a round one, not below the panel's least."""
    exact = range_ms / _MAX_POINTS
    rounded = next((length for below, length in _ROUND_MS if exact < below), 86_400_000)
    return max(rounded, milliseconds(least))


def _length(length_ms: int) -> str:
    unit, in_ms = next((u, n) for u, n in reversed(_UNITS_MS.items()) if length_ms % n == 0)
    return f"{length_ms // in_ms}{unit}"


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a dashboard is shown: its range in ms, ends included, and what is chosen."""

    from_ms: int
    to_ms: int
    chosen: Mapping[str, Chosen]

    def question(self, query: str, least_interval: str = "1s") -> str:
        """Return what is sent to InfluxDB."""

        def value(found: re.Match[str]) -> str:
            name = found[1] or found[2] or found[4]
            if name not in self.chosen:
                return found[0]
            return self.chosen[name].formatted(found[3] or found[5] or "regex")

        length_ms = interval_ms(self.to_ms - self.from_ms, least_interval)
        asked = _VARIABLE.sub(value, query)
        # The order is Grafana's: a longer name must not be taken for a shorter one.
        for macro, text in (
            ("$timeFilter", f"time >= {self.from_ms}ms and time <= {self.to_ms}ms"),
            ("$interval", _length(length_ms)),
            ("$__interval_ms", str(length_ms)),
            ("$__interval", _length(length_ms)),
        ):
            asked = asked.replace(macro, text)
        assert "$" not in re.sub(r"\$/", "", asked), f"not replaced: {asked}"
        return asked


def options(found: Sequence[str], regex: str) -> list[tuple[str, str]]:
    """Return a variable's (text, value) pairs: what its regex, /…/, takes of what was found."""
    if not regex:
        return [(each, each) for each in found]
    pattern = re.compile(regex.strip("/").replace("(?<", "(?P<"))
    pairs = []
    for each in found:
        if taken := pattern.search(each):
            named = taken.groupdict()
            pairs.append((named["text"], named["value"]) if named else (taken[1], taken[1]))
    return pairs


def ask(server: InfluxServer, question: str) -> list[Series]:
    """Ask as Grafana's data source does: what comes back may be a fraction, which the store never reads."""
    fields = {"db": server.address.database, "epoch": "u", "q": question}
    answer = httpx.post(f"{server.address.url}/query", data=fields, headers=dict(server._headers), timeout=60)
    answer.raise_for_status()
    (result,) = answer.json()["results"]
    assert "error" not in result, result
    return [
        Series(found.get("tags", {}), found["columns"], found["values"]) for found in result.get("series", [])
    ]
