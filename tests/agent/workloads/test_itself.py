"""The agent's own use."""

import os
import subprocess
import sys
import time
from pathlib import Path

from joulebook.agent.source import Roots
from joulebook.agent.workloads.itself import CpuColumn, members_of_agent
from joulebook.agent.workloads.workload import AGENT
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V2, FakeCgroups


def test_own_cpu_time_is_the_process_clock() -> None:
    """What the agent shows is its whole process's CPU time."""
    before_us = time.process_time_ns() // 1000
    column = CpuColumn([os.getpid()])
    assert before_us <= column.value <= time.process_time_ns() // 1000


def test_programs_started_with_it_count_and_stay_counted() -> None:
    """Another process's CPU time adds to the agent's, also after it has gone."""
    code = "import time\nwhile time.process_time() < 0.03: pass\nprint(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    child.stdout.readline()
    column = CpuColumn([child.pid])
    seen_us = column.value
    assert seen_us >= 30_000
    child.communicate("\n")
    column.read()
    assert column.value >= seen_us
    column.read()
    assert column.value >= seen_us


def test_own_memory_is_resident_memory() -> None:
    """The agent's memory is that of a real process."""
    (member,) = members_of_agent(Path("/proc"), "", [], 0)
    assert member.columns[1].value > 1_000_000
    member.close()


def test_each_parent_has_its_agent(tmp_path: Path) -> None:
    """Processes in different cgroups are different agent workloads, each inside its own parent."""
    fake = FakeCgroups(tmp_path, V2)
    fake.make("/system.slice/joulebook.service")
    fake.make("/user.slice/user-0.slice")
    for pid, path in (
        ("self", "/system.slice/joulebook.service"),
        ("1", "/user.slice/user-0.slice/session-1.scope"),
    ):
        (fake.roots.procfs / pid).mkdir()
        (fake.roots.procfs / pid / "cgroup").write_text(f"0::{path}\n")
    workloads = Workloads(fake.roots, own_pids=[1, os.getpid()], lookup_user=str)
    workloads.refresh(0)
    agents = [each for each in workloads.workloads if each.kind == AGENT]
    assert [(each.id, each.parent) for each in agents] == [
        ("agent", "unit.joulebook.service"),
        ("agent.2", "user.0"),
    ]
    workloads.close()


def test_agent_alone_has_no_parent(tmp_path: Path) -> None:
    """An agent in the root cgroup is inside no workload."""
    workloads = Workloads(Roots(procfs=tmp_path, cgroupfs=tmp_path / "none"))
    assert [(each.id, each.parent) for each in workloads.workloads] == [("agent", "")]
    workloads.close()
