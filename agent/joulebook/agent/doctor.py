"""What this node can see of itself and what not, and why: the examination behind `joulebook doctor`."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

from joulebook.agent.asked import Asked, Asking
from joulebook.agent.clock import boot_us
from joulebook.agent.meters.offers import is_model
from joulebook.agent.reader import Reader
from joulebook.agent.slow import FIX_SLOW
from joulebook.agent.source import (
    UNREADABLE,
    WORKING,
    Domain,
    Finding,
    Showing,
    Source,
    State,
    TellingSource,
    Waiting,
)
from joulebook.agent.source_table import METERS, USAGE
from joulebook.agent.sources import Sources
from joulebook.v1 import report_pb2

# First answers of what is asked beside the tick: a BMC takes seconds.
_PATIENCE_S = 10.0
_LOOK_S = 0.05
# Reads in a row, as far as they take no longer than this together.
_READS = 21
_READS_S = 0.05

# Who measures a kind where it can be measured, and what else is to be said of it.
_SENSORS = {"cpu": ("rapl", "hwmon"), "memory": ("rapl",), "gpu": ("nvml", "amdsmi", "amdgpu", "hwmon")}
_NO_SENSOR = {
    "disk": "disks have no power sensor that the kernel shows",
    "nic": "network cards have no power sensor that the kernel shows",
}

_FACTS = {facts.name: facts for facts in (*METERS, *USAGE)}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a source takes: to look what is there, and the median of reads; None: there is nothing to read."""

    look_us: int
    read_us: float | None


def examine(sources: Sources, others: Iterable[Finding], host: report_pb2.Host, node: str) -> dict[str, Any]:
    """Read every source, and return how all stand; others: what is known of what is no source.

    Waits up to 10 s for the first answers of what is asked beside the tick.
    """
    # What is absent is not read: that it gives nothing is no failure.
    readers = [reader for source, probe in sources.probed if (reader := Reader(source, probe)).worth_reading]
    findings = {f.name: f for _, probe in sources.probed for f in probe.findings}
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        findings |= {finding.name: finding for finding in _tick(readers)}
        if not any(_waits(source) for source, _ in sources.each) or time.monotonic() > until_s:
            break
        time.sleep(_LOOK_S)
    for source, _ in sources.each:
        if _waits(source):
            reason = f"no answer yet after {_PATIENCE_S:g} s"
            findings[source.name] = Finding(source.name, UNREADABLE, reason, FIX_SLOW)
    shows = {source.name: source.shows() for source, _ in sources.each if isinstance(source, Showing)}
    asked = dict(
        told for source, _ in sources.each if isinstance(source, Asking) and (told := source.asked())
    )
    costs = {source.name: Cost(sources.probe_us[source.name], _read_us(source)) for source, _ in sources.each}
    findings |= {finding.name: finding for finding in others}
    booked = [domain for reader in readers for domain in reader.probe.domains]
    return {
        "host": {
            "node": node,
            "kernel": platform.release(),
            "machine": platform.machine(),
            "joulebook": version("joulebook"),
            "python": platform.python_version(),
            "cpu": host.cpu_model,
            "logical_cpus": host.logical_cpus,
            "packages": host.packages,
            "memory_bytes": host.memory_bytes,
            "virtualization": host.virtualization,
            "time_unix_s": int(time.time()),
        },
        "sources": _source_rows(findings.values(), costs, shows, asked, booked),
        "domains": [_domain_row(domain, sources.offered()) for domain in booked],
        "modelled": [
            {"domain": domain.name, "reason": _why_modelled(domain, findings.values(), host)}
            for domain in booked
            if is_model(domain)
        ],
    }


def state_name(state: State) -> str:
    """Return a state in words: absent, unreadable, working, suspect."""
    return report_pb2.SourceState.Name(state).removeprefix("SOURCE_STATE_").lower()


def _tick(readers: Sequence[Reader]) -> list[Finding]:
    now_us = boot_us()
    found = [finding for reader in readers if (finding := reader.read(now_us)) is not None]
    for reader in readers:
        if isinstance(reader.source, TellingSource):
            found += reader.source.findings()
    return found + [f for reader in readers for f in (reader.change(now_us) or ())]


def _waits(source: Source) -> bool:
    return isinstance(source, Waiting) and source.is_waiting()


def _read_us(source: Source) -> float | None:
    """Return the median time of reads in a row; None where nothing can be read."""
    took_ns: list[int] = []
    until_ns = time.monotonic_ns() + int(_READS_S * 1e9)
    while len(took_ns) < _READS and time.monotonic_ns() < until_ns:
        began_ns = time.perf_counter_ns()
        try:
            if not source.read(boot_us()):
                return None
        except Exception:  # how it fails, its finding says
            return None
        took_ns.append(time.perf_counter_ns() - began_ns)
    return round(median(took_ns) / 1000, 1) if took_ns else None


def _source_rows(
    findings: Iterable[Finding],
    costs: dict[str, Cost],
    shows: dict[str, str],
    asked: dict[str, Asked],
    booked: Sequence[Domain],
) -> list[dict[str, Any]]:
    rows = []
    for finding in findings:
        facts = _FACTS.get(finding.name)
        cost = costs.get(finding.name)
        rows.append(
            {
                "name": finding.name,
                "state": state_name(finding.state),
                "reason": finding.reason,
                "fix": finding.fix,
                "period": facts.period if facts else "",
                "accuracy": facts.accuracy if facts else "",
                "duration_us": cost.look_us if cost else None,
                "read_us": cost.read_us if cost else None,
                "shows": shows.get(finding.name, ""),
                "asked": asdict(asked[finding.name]) if finding.name in asked else None,
                "gives": [domain.name for domain in booked if domain.source == finding.name],
            }
        )
    return rows


def _domain_row(domain: Domain, offered: Iterable[Domain]) -> dict[str, Any]:
    return {
        "domain": domain.name,
        "source": domain.source,
        "kind": report_pb2.SourceKind.Name(domain.kind).removeprefix("SOURCE_KIND_").lower(),
        "period_us": domain.period_us,
        "accuracy_ppm": domain.accuracy_ppm,
        "also": [o.source for o in offered if o.name == domain.name and o.source != domain.source],
    }


def _why_modelled(domain: Domain, findings: Iterable[Finding], host: report_pb2.Host) -> str:
    kind = domain.name.partition(".")[0]
    if kind in _NO_SENSOR:
        return _NO_SENSOR[kind]
    reasons = [
        f"{finding.name}: {finding.reason}"
        for finding in findings
        if finding.name.partition(":")[0] in _SENSORS.get(kind, ()) and finding.state != WORKING
    ]
    if host.virtualization:
        reasons.append(f"the node is virtual ({host.virtualization}), and its hypervisor shows no counters")
    return "; ".join(reasons) or "no sensor of it is known"
