"""Nodes' names as Slurm writes lists of hosts: n[0-63], gpu[001-004,010].

Slurm folds what ends in numbers; here a domain may follow them too, as ClusterShell has it: n[0-63].site.edu.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import groupby

# The last number of a host's name, which is what comes before the first dot of its domain.
_NUMBERED = re.compile(r"(?P<before>[^.,\[\]]*?)(?P<number>[0-9]+)(?P<after>[^.,\[\]0-9]*(?:\.[^,\[\]]*)?)\Z")


def hostlist(names: Collection[str]) -> str:
    """Write names as ranges of their last numbers; 01 and 1 are two numbers, and stay as wide as they are."""
    plain: list[str] = []
    numbered: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        if found := _NUMBERED.match(name):
            numbered[found["before"], found["after"]].append(found["number"])
        else:
            plain.append(name)
    for (before, after), numbers in sorted(numbered.items()):
        within = ",".join(_ranges(numbers))
        plain.append(f"{before}{within}{after}" if len(numbers) == 1 else f"{before}[{within}]{after}")
    return ",".join(plain)


def counted(names: Collection[str]) -> str:
    """Write names as hostlist() does, and how many there are behind it where there are several."""
    return hostlist(names) if len(names) < 2 else f"{hostlist(names)} ({len(names)})"


def _ranges(numbers: list[str]) -> Iterator[str]:
    """Yield numbers that follow each other as 3-7, others as they are."""
    # Beside 08 and 09, 10 is of two digits; beside 8 and 9 of as many as it takes.
    padded = {len(each) for each in numbers if each[0] == "0" and len(each) > 1}
    by_width: dict[int, list[int]] = defaultdict(list)
    for each in numbers:
        by_width[len(each) if len(each) in padded else 0].append(int(each))
    for width, own in sorted(by_width.items()):
        for _, group in groupby(enumerate(sorted(own)), lambda each: each[1] - each[0]):
            run = [number for _, number in group]
            yield "-".join(f"{end:0{width}}" for end in (run[:1] if len(run) == 1 else [run[0], run[-1]]))
