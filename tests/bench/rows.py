"""The rows that a benchmark prints and writes."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of ours, beside a peer's and a target where there are any."""

    name: str
    unit: str
    ours: float
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    target: float | None = None
    met: bool | None = None


def row(
    name: str,
    unit: str,
    ours: float,
    *,
    peer: str | None = None,
    peer_value: float | None = None,
    target: float | None = None,
    of_ratio: bool = False,
    at_least: bool = False,
) -> Row:
    """Make a row; the target is for the figure, or for its ratio to the peer's.

    A target is the most that a figure may be, or with at_least the least.
    """
    ratio = ours / peer_value if peer_value else None
    judged = ratio if of_ratio else ours
    met = None
    if target is not None and judged is not None:
        met = judged >= target if at_least else judged <= target
    return Row(name, unit, ours, peer, peer_value, ratio, target, met)


def write(name: str, rows: Sequence[Row]) -> None:
    """Print rows as JSON lines and a table, and write them to build/<name>.json."""
    for one in rows:
        print(json.dumps(asdict(one)))
    table = Table(title=name)
    for title in ("figure", "unit", "joulebook", "beside", "its figure", "ratio", "target", "met"):
        table.add_column(title)
    for one in rows:
        cells = (one.ours, one.peer, one.peer_value, one.ratio, one.target)
        shown = [f"{c:.3g}" if isinstance(c, float) else str(c) if c is not None else "" for c in cells]
        met = "" if one.met is None else "yes" if one.met else "NO"
        table.add_row(one.name, one.unit, *shown, met)
    Console(width=140, file=sys.stdout).print(table)
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / f"{name}.json").write_text(json.dumps([asdict(one) for one in rows], indent=1) + "\n")


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time of a whole process, in ns, threads that ended included."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def pss_kib(pid: int) -> int:
    """Return a process's proportional set size from /proc/PID/smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(f"/proc/{pid}/smaps_rollup: no Pss")


def rounds(count: int, measure: Callable[[], Sequence[float]]) -> list[float]:
    """Return the medians of several rounds of figures that are taken side by side."""
    taken = [measure() for _ in range(count)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def machine() -> str:
    """Describe the machine in a line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown CPU",
    )
    return f"{os.cpu_count()} × {model}, Linux {os.uname().release}, Python {sys.version.split()[0]}"
