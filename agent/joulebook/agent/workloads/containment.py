"""What workloads have from what contains them."""

from collections.abc import Mapping
from dataclasses import replace

from joulebook.agent.workloads.workload import Workload


def containing(path: str, ids: Mapping[str, str]) -> str:
    """Return the workload of the nearest group at or above this path; "" for none."""
    while path and path not in ids:
        path = path.rpartition("/")[0]
    return ids.get(path, "")


def inherit_packages(workloads: list[Workload]) -> None:
    """Give what has no cpuset of its own that of what contains it; workloads come from outside in."""
    packages = {each.id: each.packages for each in workloads if each.packages}
    if not packages:
        return
    for place, each in enumerate(workloads):
        if not each.packages and (inherited := packages.get(each.parent)):
            packages[each.id] = inherited
            workloads[place] = replace(each, packages=inherited)
