"""Units, users and machines by the cgroups that systemd gives them.

Layout: https://systemd.io/CGROUP_DELEGATION and systemd.slice(5); user slices: user@.service(5).
"""

import re

from joulebook.agent.workloads import libvirt
from joulebook.agent.workloads.workload import DESCEND, IGNORE, JOB, SYSTEM, Place, Verdict, Workload

_UNIT = re.compile(r"(?P<name>.+)\.(?:service|scope|socket|mount|swap)\Z")
_USER_SLICE = re.compile(r"user-(?P<uid>[0-9]+)\.slice\Z")
_MANAGER = re.compile(r"user@[0-9]+\.service\Z")
# libvirt: machine-qemu\x2d3\x2dNAME.scope; nspawn: machine-NAME.scope or systemd-nspawn@NAME.service.
_MACHINE = re.compile(r"(?:machine-|systemd-nspawn@)(?P<name>.+)\.(?:scope|service)\Z")
_ESCAPE = re.compile(r"(?:\\x[0-9a-f]{2})+")


def unescape(name: str) -> str:
    """Undo systemd's \\xNN escapes; see systemd-escape(1)."""
    return _ESCAPE.sub(
        lambda found: bytes.fromhex(found[0].replace("\\x", "")).decode(errors="replace"),
        name,
    )


def recognise(place: Place) -> Verdict | None:
    """Tell units, users and machines; None for what systemd did not make."""
    parts = place.parts
    if any(not part.endswith(".slice") for part in parts[:-1]) and parts[0] != "user.slice":
        return None
    leaf = parts[-1]
    if parts[0] == "user.slice" and len(parts) > 1:
        return _of_user(place)
    if leaf.endswith(".slice"):
        return DESCEND
    if parts[0] == "machine.slice" and (machine := _MACHINE.match(leaf)):
        name = libvirt.without_number(unescape(machine["name"]))
        return Verdict(Workload(f"machine.{name}", JOB, "systemd", name))
    if unit := _UNIT.match(leaf):
        return Verdict(Workload(f"unit.{leaf}", SYSTEM, "systemd", unit["name"]))
    return None


def _of_user(place: Place) -> Verdict:
    # A user is one workload, whatever sessions and units it has; only containers stand out of it.
    leaf = place.parts[-1]
    if len(place.parts) == 2 and (user := _USER_SLICE.match(leaf)):
        name = place.user_name(int(user["uid"]))
        return Verdict(Workload(f"user.{name}", JOB, "systemd", name, user=name), descend=True)
    return DESCEND if leaf.endswith(".slice") or _MANAGER.match(leaf) else IGNORE
