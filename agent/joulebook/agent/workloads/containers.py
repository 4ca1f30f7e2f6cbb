"""Containers by the cgroup names that their engines give them.

Docker and containerd: `cgroupsPath` of the OCI runtime specification under both cgroup drivers;
Podman: libpod's cgroup manager; CRI-O: its `crio-` scopes. Containers of pods are theirs (kubernetes.py).
"""

import re

from joulebook.agent.workloads.workload import DESCEND, JOB, SYSTEM, Place, Verdict, Workload

_HEX = r"(?P<id>[0-9a-f]{64})"

# What the directory's own name says, wherever it stands.
_NAMES = (
    ("docker", re.compile(rf"docker-{_HEX}\.scope\Z")),
    ("podman", re.compile(rf"libpod-(?:payload-)?{_HEX}(?:\.scope)?\Z")),
    ("containerd", re.compile(rf"(?:cri-containerd|nerdctl)-{_HEX}\.scope\Z")),
    # A containerd with the cgroupfs driver that was given a path meant for the systemd driver.
    ("containerd", re.compile(rf".+\.slice:[\w.-]+:{_HEX}\Z")),
    ("crio", re.compile(rf"crio-{_HEX}(?:\.scope)?\Z")),
)
_BARE = re.compile(rf"{_HEX}\Z")
_MONITOR = re.compile(r"(?:libpod|crio)-conmon-[0-9a-f]{64}(?:\.scope)?\Z")

# What a bare id means below these top directories.
_PARENTS = {
    "docker": "docker",
    "libpod_parent": "podman",
    "default": "containerd",
    "k8s.io": "containerd",
    "moby": "docker",
    "buildkit": "containerd",
    "kubepods": "containerd",
    "kubepods.slice": "containerd",
}
# In containerd's own name space people give containers any name (ctr run … NAME).
_NAMED = "default"


def recognise(place: Place) -> Verdict | None:  # noqa: PLR0911  (one a case)
    """Tell containers and what holds them; None for everything else."""
    parts = place.parts
    leaf = parts[-1]
    if _MONITOR.match(leaf) or parts == ("libpod_parent", "conmon"):
        return Verdict(Workload(f"unit.{leaf}", SYSTEM, "podman" if "crio" not in leaf else "crio", leaf))
    for engine, pattern in _NAMES:
        if found := pattern.match(leaf):
            return _container(engine, found["id"])
    top_engine = _PARENTS.get(parts[0])
    if top_engine is None:
        return None
    if len(parts) == 1:
        return DESCEND
    if top_engine == "podman":
        return DESCEND if len(parts) == 2 else None  # a pod
    if found := _BARE.match(leaf):
        return _container(top_engine, found["id"])
    if parts[0] == _NAMED:
        return Verdict(Workload(f"containerd.{leaf}", JOB, "containerd", leaf))
    # The kubelet's classes and pods: burstable/podUID, kubepods-burstable-podUID.slice.
    return DESCEND if parts[0].startswith("kubepods") else None


def _container(engine: str, container_id: str) -> Verdict:
    return Verdict(Workload(f"{engine}.{container_id[:12]}", JOB, engine))
