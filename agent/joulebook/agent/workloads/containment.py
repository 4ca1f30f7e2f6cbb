"""What workloads have from what contains them."""

from collections.abc import Mapping
from dataclasses import replace

from joulebook.agent.workloads.column import Member
from joulebook.agent.workloads.workload import Workload


class Containment:
    """The groups that are workloads: those that are members, and those of commands under `joulebook run`."""

    def __init__(self, members: Mapping[str, Member], runs: Mapping[str, str]) -> None:
        """Take the members by their paths, and the ids of runs by the paths of the groups made for them."""
        self._members = members
        self.runs = runs

    def at_or_above(self, path: str) -> str:
        """Return the workload of the nearest group at or above this path; "" for none."""
        while path:
            if (name := self.at(path)) is not None:
                return name
            path = path.rpartition("/")[0]
        return ""

    def at(self, path: str) -> str | None:
        """Return the workload that a group is."""
        if (run := self.runs.get(path)) is not None:
            return run
        member = self._members.get(path)
        return member.workload.id if member is not None else None

    def around(self, member: Member) -> str:
        """Return the workload that contains this one, which is never itself; "" for none."""
        own = self.at(member.path) == member.workload.id
        return self.at_or_above(member.above if own else member.path)

    def place(self, member: Member) -> None:
        """Give a group's workload what it has from the one around it, which was placed before."""
        path = member.path if member.path in self.runs else member.above
        while path:
            if (run := self.runs.get(path)) is not None:
                member.place(run)
                return
            if (outer := self._members.get(path)) is not None:
                member.place(outer.workload.id, outer.placed.packages)
                return
            path = path.rpartition("/")[0]
        member.place("")


def inherit_packages(workloads: list[Workload]) -> None:
    """Give what has no cpuset of its own that of what contains it; workloads come from outside in."""
    packages = {each.id: each.packages for each in workloads if each.packages}
    if not packages:
        return
    for place, each in enumerate(workloads):
        if not each.packages and (inherited := packages.get(each.parent)):
            packages[each.id] = inherited
            workloads[place] = replace(each, packages=inherited)
