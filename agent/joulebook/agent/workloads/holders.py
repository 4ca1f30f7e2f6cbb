"""Who may hold GPUs on the node, and where to ask."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from joulebook.agent.workloads.column import Member
from joulebook.agent.workloads.gpuholders import Holder
from joulebook.agent.workloads.hierarchy import Controller
from joulebook.agent.workloads.launchers.members import Part
from joulebook.agent.workloads.running import Run
from joulebook.agent.workloads.workload import JOB


def holders_of(
    members: Mapping[str, Member],
    runs: Iterable[Run],
    parts: Iterable[Part],
    cpu: Controller | None,
    devices: Controller | None,
) -> Iterator[Holder]:
    """Yield the jobs that are cgroups (members, by path), runs and parts of applications."""
    for path, member in members.items():
        if member.workload.kind == JOB and cpu is not None:
            ruled = devices.directory(path) if devices is not None else None
            yield Holder(member.workload, group=cpu.directory(path), ruled=ruled)
    for run in runs:
        yield Holder(run.member.workload, pid=run.pid)
    for part in parts:
        # How GPUs are counted depends on what the application is in.
        around = members.get(part.member.path)
        source = around.workload.source if around is not None else part.member.workload.source
        yield Holder(replace(part.member.workload, source=source), pid=next(iter(part.sizes), 0))
