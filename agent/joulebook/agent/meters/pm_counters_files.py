"""What stands in /sys/cray/pm_counters, and which domain each of its energy files measures.

HPE, "User Access to Compute Node Power Data" (Cray System Management); Martin et al., Cray XC Advanced Power
Management (CUG 2014): the blade's controller writes all files anew at every scan.
"""

import re
from collections.abc import Iterable

# "226 W 1384194183124735 us": value, unit and, from version 2 on, when it was measured.
_READING = re.compile(rb"(\d{1,18})(?: ([A-Za-z]+)(?: (\d{1,18}) us)?)?\s*")
_NUMBER = re.compile(rb"(\d{1,18})\b")
_ENERGY = re.compile(r"(?:(cpu|memory|accel)(\d*)_)?energy")
_KINDS = {"cpu": "cpu", "memory": "memory", "accel": "gpu"}


def parse_reading(data: bytes, unit: bytes) -> int:
    """Parse a file of `value unit [timestamp us]`. ValueError: it is cut off or of another unit."""
    match = _READING.fullmatch(data)
    if match is None or match[2] != unit:
        expected = f"expected a number of {unit.decode()} and a time stamp"
        raise ValueError(f"{data[:40]!r}: {expected}")
    return int(match[1])


def parse_number(data: bytes) -> int:
    """Parse freshness, generation, startup, raw_scan_hz and version: the number that the file begins with."""
    match = _NUMBER.match(data)
    if match is None:
        raise ValueError(f"{data[:40]!r}: expected a number")
    return int(match[1])


def energy_files(names: Iterable[str]) -> dict[str, str]:
    """Return the energy file of each domain, the node's first.

    One file for all packages is cpu.0, as one for all memory is memory.0; where each has its own, the sum is
    left out.
    """
    found = {match[0]: match for name in names if (match := _ENERGY.fullmatch(name))}
    files: dict[str, str] = {}
    for name, match in sorted(found.items(), key=lambda item: (item[1][1] or "", int(item[1][2] or 0))):
        part, number = match[1], match[2]
        if part is None:
            files["node"] = name
        elif number or f"{part}0_energy" not in found:
            files[f"{_KINDS[part]}.{int(number or 0)}"] = name
    return files
