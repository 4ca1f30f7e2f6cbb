"""Which GPUs a cgroup of v1 lets its processes open: devices.list.

Documentation/admin-guide/cgroup-v1/devices.rst. Of a group to which everything was allowed at first the
kernel shows `a *:* rwm`, whatever was denied to it since: that tells nothing. So it tells of groups to which
everything was denied first, as runc and systemd do. v2's rules are BPF programs: no file tells of them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from joulebook.agent.workloads.visible import CONTAINERS, HeldGpu, in_order

FILE = "devices.list"
_RULE = re.compile(rb"([abc]) (\*|[0-9]{1,10}):(\*|[0-9]{1,10}) ([rwm]{1,3})")
_MOST_BYTES = 65_536
_MAX_DIRECTORIES = 32

# Major and minor numbers; of a minor of None all of that major.
Rules = frozenset[tuple[int, int | None]]


def parse_rules(raw: bytes) -> Rules | None:
    """Return the character devices that may be read and written; None where all may, or it does not tell."""
    found: set[tuple[int, int | None]] = set()
    for line in raw.splitlines():
        rule = _RULE.fullmatch(line.strip())
        if rule is None:
            continue
        kind, major, minor, access = rule.groups()
        if kind == b"a":
            return None
        if kind == b"c" and {*b"rw"} <= {*access}:
            if major == b"*":
                return None
            found.add((int(major), None if minor == b"*" else int(minor)))
    return frozenset(found)


def domains_allowed(group: Path, gpus: Sequence[HeldGpu], source: str) -> tuple[str, ...] | None:
    """Return the GPUs that a group, or those in it, may use; None where no rule tells.

    Of a divided GPU a rule does not tell which part. A container that may use all GPUs of the node was not
    given them for that: those that watch GPUs may.
    """
    rules = _rules(group)
    if rules is None:
        return None
    allowed = in_order(gpu.domain for gpu in gpus if not gpu.parts and _may(gpu, rules))
    return None if source in CONTAINERS and len(allowed) == len(gpus) else allowed


def _may(gpu: HeldGpu, rules: Rules) -> bool:
    return any(number in rules or (number[0], None) in rules for number in gpu.device_numbers)


def _rules(group: Path) -> Rules | None:
    """Return the rules of a group, or of the nearest ones in it that have any, together."""
    found: Rules | None = None
    ahead = [group]
    for directory in ahead:
        rules = _read(directory / FILE)
        if rules is not None:
            # Those in it may use no more.
            found = (found or frozenset()) | rules
            continue
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            inside = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
            ahead += inside[: max(0, _MAX_DIRECTORIES - len(ahead))]
    return found


def _read(path: Path) -> Rules | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        raw = os.read(fd, _MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)
    # What is cut off might be anything.
    return parse_rules(raw) if len(raw) < _MOST_BYTES else None
