"""The cgroup and block device files, parsed.

v1: Documentation/admin-guide/cgroup-v1/{cpuacct,memory,blkio-controller}.rst; v2: cgroup-v2.rst.
"""

import re

# Their bytes are counted once more at the disks below them, or reach none.
_LAYERED_DRIVERS = frozenset(
    (b"device-mapper", b"md", b"mdp", b"bcache", b"drbd", b"loop", b"ramdisk", b"zram", b"nbd")
)

# A device's line as kernels write it.
_IO_STAT = re.compile(rb"^((\d+):\d+) rbytes=(\d+) wbytes=(\d+) ", re.MULTILINE)


def parse_cpuacct_usage_ns(raw: bytes) -> int:
    """Return ns from v1's cpuacct.usage."""
    return int(raw)


def parse_cpu_stat_us(raw: bytes) -> int:
    """Return usage_usec from v2's cpu.stat, where it is the first line."""
    if raw[:11] != b"usage_usec ":
        raise ValueError(f"cpu.stat: expected usage_usec first, got {raw[:40]!r}")
    return int(raw[11 : raw.index(b"\n")])


def parse_memory_bytes(raw: bytes) -> int:
    """Return bytes from v2's memory.current or v1's memory.usage_in_bytes."""
    return int(raw)


def parse_io_stat_bytes(raw: bytes, layered: frozenset[bytes]) -> dict[bytes, int]:
    """Return bytes read and written by device ("8:0") from v2's io.stat, without those of layered majors."""
    devices = _IO_STAT.findall(raw)
    if len(devices) == raw.count(b"\n"):
        return {
            device: int(read) + int(written)
            for device, major, read, written in devices
            if major not in layered
        }
    # A kernel that shows less, or in another order.
    found: dict[bytes, int] = {}
    for line in raw.splitlines():
        device, *fields = line.split()
        if _major(device) in layered:
            continue
        for field in fields:
            if field.startswith((b"rbytes=", b"wbytes=")):
                found[device] = found.get(device, 0) + int(field[7:])
    return found


def parse_blkio_bytes(raw: bytes, layered: frozenset[bytes]) -> dict[bytes, int]:
    """Return bytes read and written by device from v1's blkio.throttle.io_service_bytes_recursive."""
    found: dict[bytes, int] = {}
    for line in raw.splitlines():
        fields = line.split()
        # "8:0 Read 4096"; the last line is "Total 4096", of all devices.
        if len(fields) == 3 and fields[1] in (b"Read", b"Write") and _major(fields[0]) not in layered:
            found[fields[0]] = found.get(fields[0], 0) + int(fields[2])
    return found


def parse_layered_majors(raw: bytes) -> frozenset[bytes]:
    """Return the major numbers of block devices made of others, from /proc/devices; see proc(5)."""
    _, _, block = raw.partition(b"Block devices:")
    pairs = (line.split() for line in block.splitlines())
    return frozenset(pair[0] for pair in pairs if len(pair) == 2 and pair[1] in _LAYERED_DRIVERS)


def _major(device: bytes) -> bytes:
    return device.partition(b":")[0]
