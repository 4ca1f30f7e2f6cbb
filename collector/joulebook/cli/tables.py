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


def shown_id(job: dict[str, Any]) -> str:
    """Return a job's id, and what its scheduler calls it where that is something else."""
    told = job["scheduler"]
    return f"{job['job']} ({told['known_as']})" if told and told["known_as"] else str(job["job"])


def state_of(job: dict[str, Any]) -> str:
    """Return whether a job runs, and how it ended for its scheduler."""
    told = job["scheduler"]
    return f"{job['state']}, {told['state']}" if told and told["state"] else str(job["state"])


def _scheduler_line(job: dict[str, Any]) -> list[str]:
    """Return a line of what only a job's scheduler knows, or none."""
    if not (told := job["scheduler"]):
        return []
    said = [f"{name} {told[name]}" for name in ("user", "account", "partition") if told[name]]
    counts = (("node_count", "nodes"), ("cpus", "CPUs"), ("gpus", "GPUs"))
    said += [f"{told[name]} {what}" for name, what in counts if told[name] is not None]
    if told["memory_bytes"]:
        said.append(f"{told['memory_bytes'] / (1 << 30):.1f} GiB")
    said += [f"{name} {told[name]}" for name in ("submit", "start", "end") if told[name]]
    return [printable(", ".join(said))] if said else []


def job_tables(job: dict[str, Any]) -> list[Table | str]:
    """Return what there is to say about a job: a head, energy by domain, and how well it is known."""
    heads = f"{shown_id(job)}  {printable(job['name'])}  on {', '.join(job['nodes'])}: {state_of(job)}"
    if job["exit_status"] is not None:
        heads += f" with {job['exit_status']}"
    if job["state"] == "ended":
        heads += ", settled" if job["settled"] else ", provisional"
    if job["revision"] > 1:
        heads += f"; revision {job['revision']} since {job['revised']}"
    told = _scheduler_line(job)
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
        *told,
        table(["domain", "energy", "active", "idle"], rows, right=("energy", "active", "idle")),
        f"{power(job['average_power_mw'])} on average over {duration(job['duration_s'])}; {shares}",
        *(
            f"revision {was['revision']} said {energy(was['energy_uj'], was['plus_minus_uj'])} "
            f"until {was['until']}"
            for was in job["superseded"]
        ),
    ]
