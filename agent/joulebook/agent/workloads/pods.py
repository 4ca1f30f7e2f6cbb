"""What a pod's cgroup does not tell: its name and name space, and what it asked for.

The kubelet keeps a pod's logs in a directory called NAMESPACE_NAME_UID: that tells the name without a
question to the API server. Requests are in the group's CPU weight, which the kubelet sets.
"""

from dataclasses import replace

from joulebook.agent.source import Roots
from joulebook.agent.workloads.hierarchy import Hierarchies
from joulebook.agent.workloads.job_facts import memory_limit_bytes
from joulebook.agent.workloads.workload import Workload

# cpu.weight is 1 + (shares − 2) · 9999 / 262142, and 1024 shares are a CPU (the kubelet's conversion).
_SHARES_A_WEIGHT, _LEAST_SHARES, _SHARES_A_CPU = 262142 / 9999, 2, 1024


class PodFacts:
    """Looks pods up on the node. The kubelet makes the group before the directory: ask again next tick."""

    def __init__(self, roots: Roots, hierarchies: Hierarchies) -> None:
        self._logs = roots.pod_logs
        self._cgroupfs = roots.cgroupfs
        self._cpu, self._memory = hierarchies.cpu, hierarchies.memory

    def lacks(self, workload: Workload) -> bool:
        """Say whether there is more to be told of a pod than is known."""
        return not workload.name

    def complete(self, workload: Workload, path: str) -> Workload:
        """Return the pod with what can be known of it now; as it was where nothing tells yet."""
        name = self._name(workload.id.removeprefix("k8s.").partition(".")[0])
        if not name:
            return workload
        return replace(
            workload,
            name=name,
            reserved_millicpus=self._requested_millicpus(path),
            reserved_memory_bytes=memory_limit_bytes(self._memory, path),
        )

    def _name(self, uid: str) -> str:
        """Return NAMESPACE/NAME; "" where no directory tells."""
        try:
            found = next(self._logs.glob(f"*_*_{uid}"), None)
        except OSError:
            return ""
        if found is None:
            return ""
        namespace, _, name = found.name.removesuffix(f"_{uid}").partition("_")
        return f"{namespace}/{name}"

    def _requested_millicpus(self, path: str) -> int:
        if self._cpu is None:
            return 0
        v2 = not self._cpu.key
        root = self._cpu.root if v2 else self._cgroupfs / "cpu"
        try:
            value = int((root / path.lstrip("/") / ("cpu.weight" if v2 else "cpu.shares")).read_bytes())
        except (OSError, ValueError):
            return 0
        shares = (value - 1) * _SHARES_A_WEIGHT + _LEAST_SHARES if v2 else value
        # The least there is stands for no request.
        return 0 if shares <= _LEAST_SHARES else round(shares * 1000 / _SHARES_A_CPU)
