"""libvirt's machines by the cgroups that it makes itself, where there is no systemd; else see systemd.py.

Layout: https://libvirt.org/cgroups.html, section Non-systemd cgroups layout: /machine/[NAME.partition/…]
DRIVER-ID-NAME.libvirt-DRIVER, and partitions beside /machine; before 1.3 without driver and id. What would be
taken for a file of the kernel's has a _ before it.
"""

import re

from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, Place, Verdict, Workload

SOURCE = "libvirt"

_MACHINE = re.compile(r"_?(?P<name>.+)\.libvirt-[a-z]+\Z")
_PARTITION = re.compile(r".+\.partition\Z")
_NUMBERED = re.compile(r"(?:qemu|lxc|ch|bhyve)-[0-9]+-(?P<name>.+)\Z")
_TOP = "machine"


def recognise(place: Place) -> Verdict | None:
    """Tell machines and what holds them; None for everything else."""
    parts = place.parts
    if parts[0] != _TOP and not _PARTITION.match(parts[0]):
        return None
    # One within another would be a part of it: emulator, vcpu0.
    if any(map(_MACHINE.match, parts[:-1])):
        return IGNORE
    if found := _MACHINE.match(parts[-1]):
        name = without_number(found["name"])
        return Verdict(Workload(f"machine.{name}", JOB, SOURCE, name))
    return DESCEND if len(parts) == 1 or _PARTITION.match(parts[-1]) else None


def without_number(machine: str) -> str:
    """Return what a machine is called, without the driver and the number that libvirt puts before it."""
    found = _NUMBERED.match(machine)
    return found["name"] if found else machine
