"""CPU time of applications' processes against the truth, for any coming and going."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.workloads.launchers.members import Members, Part
from joulebook.agent.workloads.launchers.process import Processes, Times
from joulebook.agent.workloads.workload import JOB, Workload

ROOT = 100
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 5)),
        st.tuples(st.just("use"), st.integers(0, 5)),
        st.tuples(st.just("end"), st.integers(1, 5)),
        st.tuples(st.just("tick"), st.just(0)),
    ),
    max_size=60,
)


@dataclass
class Made:
    """A process as the kernel keeps it."""

    parent: int
    start_us: int
    own_us: int = 0
    waited_us: int = 0
    is_seen: bool = False


@dataclass
class Kernel(Processes):
    """Processes whose parents wait for them at once; who has lost its parent is the root's."""

    made: dict[int, Made] = field(default_factory=dict)
    now_us: int = 1
    next_pid: int = ROOT

    def start(self, parent: int) -> None:
        self.made[self.next_pid] = Made(parent, self.now_us)
        self.next_pid += 1

    def end(self, pid: int) -> None:
        gone = self.made.pop(pid)
        self.made[gone.parent].waited_us += gone.own_us + gone.waited_us
        self.made[gone.parent].own_us += 1  # it runs to wait
        for each in self.made.values():
            if each.parent == pid:
                each.parent = ROOT

    def times(self, pid: int) -> Times:
        try:
            made = self.made[pid]
        except KeyError:
            raise ProcessLookupError from None
        return Times(made.parent, made.start_us, made.own_us, made.waited_us)


def part_of(members: Members, procfs: Path) -> Part:  # noqa: ARG001  (one a test)
    return Part("marked.a", Workload("marked.a", JOB, "marked"), "", 0, procfs)


@given(ACTIONS)
def test_nothing_is_lost_and_nothing_counted_twice(actions: list[tuple[str, int]]) -> None:
    """Whoever starts, works and ends between ticks: each tick shows what the application has truly used."""
    kernel = Kernel()
    members = Members(Path("/nowhere"), kernel, has_clocks=False)
    part = part_of(members, Path("/nowhere"))
    kernel.start(1)
    members.add(ROOT, part, since_us=0)
    used_us = 0
    for step, (action, number) in enumerate([*actions, ("tick", 0)]):
        pids = list(kernel.made)
        pid = pids[number % len(pids)]
        if action == "start":
            kernel.start(pid)
        elif action == "use":
            kernel.made[pid].own_us += 10_000 + step
            used_us += 10_000 + step
        elif action == "end" and pid != ROOT:
            kernel.end(pid)
            used_us += 1
        elif action == "tick":
            for new, made in kernel.made.items():
                if new not in members.by_pid:
                    assert members.add(new, part, since_us=0), made
            members.read()
            assert part.used_ns == used_us * 1000
            assert members.by_pid.keys() == kernel.made.keys() == part.sizes.keys()
            kernel.now_us += 1


def test_what_was_used_before_is_not_counted() -> None:
    """A process that is found late counts from then on, and its children's past does not come back."""
    kernel = Kernel()
    members = Members(Path("/nowhere"), kernel, has_clocks=False)
    part = part_of(members, Path("/nowhere"))
    kernel.start(1)
    kernel.start(ROOT)
    kernel.made[ROOT].own_us = kernel.made[ROOT + 1].own_us = 5_000_000
    for pid in (ROOT, ROOT + 1):
        assert members.add(pid, part, since_us=2)
    members.read()
    kernel.made[ROOT + 1].own_us += 7
    kernel.end(ROOT + 1)
    members.read()
    assert part.used_ns == 8_000


def test_a_number_given_out_again_is_another_process() -> None:
    """A pid that comes back is not the process that had it."""
    kernel = Kernel()
    members = Members(Path("/nowhere"), kernel, has_clocks=False)
    part = part_of(members, Path("/nowhere"))
    kernel.start(1)
    members.add(ROOT, part, since_us=0)
    kernel.made[ROOT] = Made(1, 99, own_us=50, waited_us=40)
    members.read()
    assert not members.by_pid
    assert not part.sizes


def test_children_in_jobs_of_their_own_are_taken_off() -> None:
    """What is booked elsewhere does not come in by the parent's count of children that it waited for."""
    kernel = Kernel()
    members = Members(Path("/nowhere"), kernel, has_clocks=False)
    part = part_of(members, Path("/nowhere"))
    kernel.start(1)
    kernel.start(ROOT)
    members.add(ROOT, part, since_us=0)
    members.add(ROOT + 1, None, since_us=0)
    kernel.made[ROOT + 1].own_us = 3_000_000
    members.read()
    kernel.end(ROOT + 1)
    members.read()
    assert part.used_ns == 1_000
