"""Memory of the node."""

from pathlib import Path

import psutil

from joulebook.agent.source import ABSENT, UNREADABLE, Roots
from joulebook.agent.usage.memory import MemoryUsage, parse_meminfo
from tests.fixtures.trees import build, roots_of, write


def test_wide_numbers_move_the_lines(tmp_path: Path) -> None:
    """Memory above 100 GB, whose lines are longer, is read alike."""
    memory = MemoryUsage(build("xeon-2s", tmp_path))
    memory.probe()
    cached_kib = 123456 + 234567890 + 3456789
    assert list(memory.read(0)) == [
        (527987232 - 401234567) << 10,
        cached_kib << 10,
        (8388604 - 8300000) << 10,
    ]
    assert memory.total_bytes == 527987232 << 10
    memory.close()


def test_cached_is_not_swap_cached() -> None:
    """SwapCached and SReclaimable's neighbours are not mistaken for what is asked."""
    data = (
        b"MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\nBuffers: 1 kB\nCached: 20 kB\n"
        b"SwapCached: 7 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\nKReclaimable: 9 kB\nSReclaimable: 300 kB\n"
    )
    assert parse_meminfo(data) == (1000, 600, 321, 30)


def test_absent_and_broken(tmp_path: Path) -> None:
    """Without /proc/meminfo the source is absent; with another file in its place, unreadable."""
    roots = roots_of(tmp_path)
    assert [finding.state for finding in MemoryUsage(roots).probe().findings] == [ABSENT]
    write(roots.procfs / "meminfo", " ".join("abcdefghijklmnopqrst"))
    assert [finding.state for finding in MemoryUsage(roots).probe().findings] == [UNREADABLE]


def test_this_machine_agrees_with_psutil() -> None:
    """The machine's memory is what psutil says it is."""
    memory = MemoryUsage(Roots())
    memory.probe()
    used_bytes = memory.read(0)[0]
    peer = psutil.virtual_memory()
    assert memory.total_bytes == peer.total
    assert abs(used_bytes - (peer.total - peer.available)) < peer.total / 4
    memory.close()
