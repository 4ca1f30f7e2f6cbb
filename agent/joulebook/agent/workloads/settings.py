"""What can be told of how jobs are found: section [agent.workloads]."""

import difflib
from pathlib import Path

import msgspec

from joulebook.agent.workloads.launchers.table import LAUNCHERS


class WorkloadsConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which cgroups are jobs of their own: paths, with * and ? within one level. Whose applications are.

    node: what the node is called in the ids of what is on it alone. podresources: the kubelet's socket.
    """

    job_cgroups: tuple[str, ...] = ()
    launchers: tuple[str, ...] = ()
    node: str = ""
    podresources: str = ""


class WorkloadsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section [agent.workloads] of the configuration."""

    # Whose applications are jobs of their own outside a scheduler: all there are; []: nobody's.
    launchers: list[str] = msgspec.field(default_factory=lambda: list(LAUNCHERS))
    # Where the kubelet tells which pods it has given which GPUs; empty: it is not asked.
    podresources: str = "/var/lib/kubelet/pod-resources/kubelet.sock"

    # Where the kubelet keeps pods' logs, in directories that tell the pods' names.
    pod_logs: str = "/var/log/pods"

    def errors(self) -> list[str]:
        """Return what is wrong with the values, one line each."""
        wrong = []
        for name in self.launchers:
            if name not in LAUNCHERS:
                near = difflib.get_close_matches(name, LAUNCHERS, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                wrong.append(
                    f"agent.workloads.launchers has {name!r}: expected some of {', '.join(LAUNCHERS)}{hint}"
                )
        if self.podresources and not Path(self.podresources).is_absolute():
            wrong.append(
                f"agent.workloads.podresources = {self.podresources!r}: "
                "expected the absolute path of a socket, or nothing"
            )
        if not Path(self.pod_logs).is_absolute():
            wrong.append(f"agent.workloads.pod_logs = {self.pod_logs!r}: expected an absolute path")
        return wrong
