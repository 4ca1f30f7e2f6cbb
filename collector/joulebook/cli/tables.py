"""Tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joulebook.cli.terminal import printable
from joulebook.collector.units import duration, energy, percent, power


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> Table:
    """Return a table; the columns in right are aligned so. Cells are plain text, whoever wrote them."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def show(*parts: Table | str, err: bool = False) -> None:
    """Print tables and lines; as wide as the terminal, and not cut where there is none."""
    stream = sys.stderr if err else sys.stdout
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else 160)
    for part in parts:
        console.print(Text(part) if isinstance(part, str) else part)


def job_tables(job: dict[str, Any]) -> list[Table | str]:
    """Return what there is to say about a job: a head, energy by domain, and how well it is known."""
    heads = f"{job['job']}  {printable(job['name'])}  on {', '.join(job['nodes'])}: {job['state']}"
    if job["exit_status"] is not None:
        heads += f" with {job['exit_status']}"
    if job["revision"] > 1:
        heads += f"; revision {job['revision']} since {job['revised']}"
    rows = []
    for name, total_uj in job["by_domain"].items():
        active_uj = job["active_by_domain"][name]
        if total_uj:
            rows.append([name, energy(total_uj), energy(active_uj), energy(total_uj - active_uj)])
    total = energy(job["energy_uj"], job["plus_minus_uj"])
    rows.append(["total", total, energy(job["active_uj"]), energy(job["idle_uj"])])
    known = job["coverage"]
    shares = ", ".join(f"{name} {percent(known[name])}" for name in ("measured", "modelled", "missing"))
    return [
        heads,
        table(["domain", "energy", "active", "idle"], rows, right=("energy", "active", "idle")),
        f"{power(job['average_power_mw'])} on average over {duration(job['duration_s'])}; {shares}",
    ]
