"""Tables on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joulebook.cli.hostlist import counted
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
    """Print tables and lines; as wide as the terminal, and lines whole where there is none."""
    stream = sys.stderr if err else sys.stdout
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else 160)
    for part in parts:
        if isinstance(part, Table):
            console.print(part)
        elif stream.isatty():
            console.print(Text(folded(part, console.width)))
        else:
            console.print(Text(part), soft_wrap=True)


def folded(text: str, width: int) -> str:
    """Break text after spaces and commas where a word, a list of hosts say, is longer than a line."""
    if all(len(word) <= width for word in text.split(" ")):
        return text
    lines = [""]
    for piece in re.split(r"(?<=[, ])", text):
        if len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def shown_id(job: dict[str, Any]) -> str:
    """Return a job's id, and what its scheduler calls it where that is something else."""
    told = job["scheduler"]
    return f"{job['job']} ({told['known_as']})" if told and told["known_as"] else str(job["job"])


def state_of(job: dict[str, Any]) -> str:
    """Return whether a job runs, and how it ended for its scheduler."""
    told = short_state_of(job)
    return str(job["state"]) if told.lower() == job["state"] else f"{job['state']}, {told}"


def short_state_of(job: dict[str, Any]) -> str:
    """Return what its scheduler calls a job's state, and else whether it runs."""
    told = job["scheduler"]
    return str(told["state"] if told and told["state"].upper() not in ("", "RUNNING") else job["state"])


def _scheduler_line(job: dict[str, Any]) -> list[str]:
    """Return a line of what only a job's scheduler knows, or none."""
    if not (told := job["scheduler"]):
        return []
    said = [f"{name} {told[name]}" for name in ("user", "account", "partition", "owner") if told[name]]
    counts = (("node_count", "node"), ("cpus", "CPU"), ("gpus", "GPU"))
    said += [
        f"{told[name]:.10g} {what}{'' if told[name] == 1 else 's'}"
        for name, what in counts
        if told[name] is not None
    ]
    if told["gpu_parts"]:
        said.append(told["gpu_parts"])
    if told["memory_bytes"]:
        said.append(f"{told['memory_bytes'] / (1 << 30):.1f} GiB")
    said += [f"{name} {told[name]}" for name in ("submit", "start", "end") if told[name]]
    return [printable(", ".join(said))] if said else []


def _tier_rows(tiers: dict[str, int]) -> list[list[str]]:
    """Return a row for each tier of disks, where there is more than storage of no known tier."""
    if not any(uj for tier, uj in tiers.items() if tier != "other"):
        return []
    return [[f"  {tier}", energy(uj), "", ""] for tier, uj in tiers.items() if uj]


def job_tables(job: dict[str, Any]) -> list[Table | str]:
    """Return what there is to say about a job: a head, energy by domain, and how well it is known."""
    named = [shown_id(job), *([printable(job["name"])] if job["name"] else [])]
    heads = "  ".join([*named, f"on {counted(job['nodes'])}: {state_of(job)}"])
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
        if name == "storage":
            rows += _tier_rows(job["storage_by_tier"])
    total = energy(job["energy_uj"], job["plus_minus_uj"])
    rows.append(["total", total, energy(job["active_uj"]), energy(job["idle_uj"])])
    known = job["coverage"]
    # Whether nobody watched then, or it drew nothing where resting costs nothing, the books do not tell.
    words = {"measured": "measured", "modelled": "modelled", "missing": "nothing booked"}
    shares = ", ".join(f"{word} {percent(known[name])}" for name, word in words.items())
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
