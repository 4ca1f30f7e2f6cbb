"""What a program's environment says of the GPUs that it is given, in the variables of schedulers and vendors.

NVIDIA: CUDA C++ Programming Guide, "CUDA Environment Variables"; AMD: ROCm, "GPU isolation techniques".

A variable that is set and empty is not the same to all. CUDA_VISIBLE_DEVICES: "no GPU devices are visible"
(the guide). ROCR_VISIBLE_DEVICES: none either (ROCR-Runtime, amd_filter_device.cpp, SelectZeroDevices()). To
HIP its own counts as not set, and so does CUDA's, which it reads then (clr, rocdevice.cpp, Device::init()).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Protocol

from joulebook.agent.workloads import kubernetes, slurm_shares

# Slurm's are numbers of the node's device files (/dev/nvidiaN), whatever a device cgroup hides: the job's
# allocation first, then the step's. CUDA's is what the program is meant to see; the container runtime's is
# what was put into a container, where it names GPUs: images say `all`, and numbers count what the runtime
# sees.
SLURM = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
_CUDA = "CUDA_VISIBLE_DEVICES"
_CUDA_ORDER = "CUDA_DEVICE_ORDER"
_RUNTIME = "NVIDIA_VISIBLE_DEVICES"
# AMD's runtime leaves some devices, and HIP some of those: by its own variable, else by CUDA's.
_ROCR = "ROCR_VISIBLE_DEVICES"
_HIP = ("HIP_VISIBLE_DEVICES", _CUDA)
WANTED = frozenset((*SLURM, _CUDA_ORDER, _RUNTIME, _ROCR, *_HIP)) | slurm_shares.VARIABLES
# In a container numbers count from 0 whatever GPUs it was given.
CONTAINERS = frozenset(("docker", "podman", "containerd", "crio", kubernetes.SOURCE))

WHOLE_PPM = 1_000_000
_MOST_NUMBERS = 16


class HeldGpu(Protocol):
    """What a GPU is called: its domain, its number and UUID with the driver, its device file, its model.

    index is -1 where none of these variables names it, as none does Intel's: no UUID and no minor then.
    parts has what it is divided into (MIG), by every name that programs are given: the share of each in ppm.
    rocr_devices is how many devices AMD's runtime makes of it, one a partition; 0: it is not AMD's.
    device_numbers has major and minor of the device files by which programs use it; empty: not known.
    """

    domain: str
    index: int
    uuid: str
    minor: int
    model: str
    parts: dict[str, int]
    rocr_devices: int
    device_numbers: frozenset[tuple[int, int]]


def parse_environ(raw: bytes) -> dict[str, str]:
    """Return what /proc/PID/environ says of GPUs, and nothing else of it; see proc(5)."""
    found = {}
    for entry in raw.split(b"\0"):
        name, _, value = entry.decode(errors="replace").partition("=")
        if name in WANTED:
            found[name] = value
    return found


def domains_held(environ: Mapping[str, str], gpus: Sequence[HeldGpu], source: str) -> tuple[str, ...] | None:
    """Return the domains that an environment names; None where it says nothing about GPUs."""
    gpus = [gpu for gpu in gpus if gpu.index >= 0]
    if not gpus:
        return None
    for name in SLURM:
        # Of divided GPUs Slurm numbers the parts, and CUDA's names say which they are.
        if environ.get(name) and not _parts_of(environ, gpus):
            by_minor = {str(gpu.minor): gpu.domain for gpu in gpus}
            return in_order(by_minor.get(one, "") for one in _numbers(environ[name]))
    if any(gpu.rocr_devices for gpu in gpus):
        return _seen_by_hip(environ, gpus, source)
    if source in CONTAINERS:
        # What a container was given counts, not what a program in it is to see of that.
        given = [one.strip() for one in environ.get(_RUNTIME, "").split(",")]
        if named := in_order(_by_uuid(one, gpus) for one in given):
            return named
    if _CUDA not in environ:
        return None
    # CUDA puts the fastest first unless told otherwise; GPUs of one model stay in the bus's order.
    in_bus_order = environ.get(_CUDA_ORDER) == "PCI_BUS_ID" or len({gpu.model for gpu in gpus}) == 1
    by_index = {str(gpu.index): gpu.domain for gpu in gpus}
    known = by_index if in_bus_order and source not in CONTAINERS else {}
    return in_order(_leading(environ[_CUDA], lambda one: known.get(one) or _by_uuid(one, gpus)))


def shares_held(environ: Mapping[str, str], gpus: Sequence[HeldGpu]) -> dict[str, int]:
    """Return the part of each GPU that an environment names, of those GPUs of which it names only parts."""
    shares: dict[str, int] = {}
    for gpu, name in _parts_of(environ, gpus):
        shares[gpu.domain] = min(shares.get(gpu.domain, 0) + gpu.parts[name], WHOLE_PPM)
    return shares


def allotted(devices: Sequence[str], gpus: Sequence[HeldGpu]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the domains of devices as NVIDIA's plugin calls them, and the part of those held in parts.

    Ids are UUIDs of GPUs or parts, or numbers of GPUs; a shared one has ::N behind it.
    """
    names = [device.partition("::")[0] for device in devices]
    by_index = {str(gpu.index): gpu.domain for gpu in gpus}
    shares: dict[str, int] = {}
    for name in dict.fromkeys(names):
        for gpu in gpus:
            if name in gpu.parts:
                shares[gpu.domain] = min(shares.get(gpu.domain, 0) + gpu.parts[name], WHOLE_PPM)
    return in_order(by_index.get(name) or _by_uuid(name, gpus) for name in names), shares


def in_order(domains: Iterable[str]) -> tuple[str, ...]:
    """Return them without those that are empty, each once."""
    return tuple(dict.fromkeys(domain for domain in domains if domain))


def _seen_by_hip(environ: Mapping[str, str], gpus: Sequence[HeldGpu], source: str) -> tuple[str, ...] | None:
    """Return what is left to a program of AMD's GPUs; HIP counts within what the runtime leaves."""
    hip = next((value for name in _HIP if (value := environ.get(name, "").strip())), "")
    if not hip and _ROCR not in environ:
        return None
    # A GPU that is divided counts as often as it has partitions.
    numbered = [gpu.domain for gpu in gpus for _ in range(gpu.rocr_devices)]
    seen = [] if source in CONTAINERS else numbered
    if _ROCR in environ:
        seen = _left(environ[_ROCR], seen, gpus)
        # HIP looks for UUIDs too among what is left; what numbers leave in a container is not known.
        if not environ[_ROCR] or source not in CONTAINERS:
            gpus = [gpu for gpu in gpus if gpu.domain in seen]
    return in_order(_left(hip, seen, gpus) if hip else seen)


def _left(names: str, seen: Sequence[str], gpus: Sequence[HeldGpu]) -> list[str]:
    by_number = {str(number): domain for number, domain in enumerate(seen)}
    return _leading(names, lambda name: by_number.get(name) or _by_uuid(name, gpus))


def _leading(names: str, find: Callable[[str], str]) -> list[str]:
    """Return the domains of a list: what follows something that is no GPU (-1, NoDevFiles) is hidden."""
    return list(takewhile(bool, (find(name.strip()) for name in names.split(","))))


def _numbers(text: str) -> list[str]:
    """Return the numbers of a list such as 0,2-4."""
    found: list[str] = []
    for one in text.split(","):
        first, _, last = one.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found += map(str, range(int(first), min(int(last or first), int(first) + _MOST_NUMBERS) + 1))
    return found


def _by_uuid(name: str, gpus: Sequence[HeldGpu]) -> str:
    """Return the GPU that a UUID or its beginning, or the name of one of its parts names."""
    if of_part := [gpu.domain for gpu in gpus if name in gpu.parts]:
        return of_part[0]
    name = name.removeprefix("MIG-").partition("/")[0].lower()
    found = [gpu.domain for gpu in gpus if name.startswith("gpu-") and gpu.uuid.lower().startswith(name)]
    return found[0] if len(found) == 1 else ""


def _parts_of(environ: Mapping[str, str], gpus: Sequence[HeldGpu]) -> list[tuple[HeldGpu, str]]:
    given = environ.get(_CUDA) or environ.get(_RUNTIME, "")
    names = [name.strip() for name in given.split(",")]
    return [(gpu, name) for name in dict.fromkeys(names) for gpu in gpus if name in gpu.parts]
