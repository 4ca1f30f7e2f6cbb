"""What the machine is, from files that may hold anything."""

from pathlib import Path

import pytest

from joulebook.agent.host import parse_cpuinfo, parse_mem_total_bytes, read_boot_id
from joulebook.agent.source import Roots
from tests.fixtures.trees import write


@pytest.mark.parametrize(
    ("data", "size_bytes"),
    [
        (b"MemTotal:       16000000 kB\nMemFree: 1 kB\n", 16_000_000 << 10),
        (b"MemTotal:", 0),
        (b"MemTotal: N/A\n", 0),
        (b"MemTotal: -1 kB\n", 0),
        (b"MemTotal: " + b"9" * 400 + b" kB\n", 0),
        (b"MemTotal: 999999999999999 kB\n", 0),
        (b"\x00\xff", 0),
    ],
)
def test_mem_total(data: bytes, size_bytes: int) -> None:
    """A size is what the kernel says, or 0 where it says nothing that can be."""
    assert parse_mem_total_bytes(data) == size_bytes


@pytest.mark.parametrize(
    ("text", "boot_id"),
    [
        ("6f1d3c1e-2b1a-4d5e-8f00-0123456789ab", bytes.fromhex("6f1d3c1e2b1a4d5e8f000123456789ab")),
        ("6f1d3c1e-2b1a", b""),
        ("not hexadecimal", b""),
        ("é", b""),
    ],
)
def test_boot_id(tmp_path: Path, text: str, boot_id: bytes) -> None:
    """The boot id is 16 bytes, or none."""
    roots = Roots(procfs=tmp_path)
    write(roots.procfs / "sys/kernel/random/boot_id", text)
    assert read_boot_id(roots) == boot_id


def test_cpuinfo_of_garbage() -> None:
    """Garbage has no CPUs."""
    assert parse_cpuinfo(b"\x00\xff:\n::\n") == (0, "", False)
