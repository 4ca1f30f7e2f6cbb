"""Huge pages."""

from pathlib import Path

from joulebook.agent.source import ABSENT, UNREADABLE
from joulebook.agent.usage.hugepages import HugepagesUsage
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000
MIB = 1 << 20


def test_all_sizes_together(tmp_path: Path) -> None:
    """2 MiB and 1 GiB pages: what is set aside, and what of it is used."""
    roots = build("xeon-2s", tmp_path)
    pages = HugepagesUsage(roots)
    assert len(pages.probe().series) == 2
    assert list(pages.read(0)) == [1024 * 2 * MIB + 2 * 1024 * MIB, 24 * 2 * MIB + 1024 * MIB]
    write(roots.sysfs / "kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 0)
    for second in range(1, 6):
        values = list(pages.read(second * S))
    assert values[1] == 1024 * 2 * MIB + 1024 * MIB
    pages.close()


def test_a_race_between_two_files_is_not_believed(tmp_path: Path) -> None:
    """More free than there are is dropped and counted; the last values stand."""
    roots = build("xeon-2s", tmp_path)
    pages = HugepagesUsage(roots)
    pages.probe()
    before = list(pages.read(0))
    write(roots.sysfs / "kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 5000)
    for second in range(1, 6):
        assert list(pages.read(second * S)) == before
    (finding,) = pages.findings()
    assert "5000 free" in finding.reason
    pages.close()


def test_absent_where_none_are_set_aside(tmp_path: Path) -> None:
    """No directory, or no pages, costs nothing; a damaged file is told of."""
    roots = roots_of(tmp_path)
    assert [f.state for f in HugepagesUsage(roots).probe().findings] == [ABSENT]
    directory = roots.sysfs / "kernel/mm/hugepages/hugepages-2048kB"
    write(directory / "nr_hugepages", 0)
    write(directory / "free_hugepages", 0)
    assert [f.state for f in HugepagesUsage(roots).probe().findings] == [ABSENT]
    write(directory / "free_hugepages", "?")
    assert [f.state for f in HugepagesUsage(roots).probe().findings] == [UNREADABLE]
