"""What is remembered of workloads that went."""

from dataclasses import dataclass

from joulebook.agent.workloads.column import CPU, IO, MEMORY, GivenColumn, Past, Stood
from joulebook.agent.workloads.disk_users import DISK_IO


@dataclass
class OfDisks:
    """A column that tells more than its own series."""

    metric = IO
    value: int
    disks: dict[str, int]

    def read(self) -> None:
        """Find nothing to read."""

    def past(self) -> Stood:
        """Return what it moved in all, and on each disk."""
        return {(IO, ""): self.value, **{(DISK_IO, disk): n for disk, n in self.disks.items()}}

    def close(self) -> None:
        """Nothing is open."""


def test_a_column_says_itself_what_is_remembered_of_it() -> None:
    """Counters go on where they stood, by disk too; a level is not remembered."""
    past = Past()
    past.keep(
        "a", [GivenColumn(CPU, 7), GivenColumn(MEMORY, 1 << 30), OfDisks(9, {"disk.a": 5, "disk.b": 4})]
    )
    assert [past.value("a", metric) for metric in (CPU, MEMORY, IO)] == [7, 0, 9]
    assert past.by_disk("a", DISK_IO) == {"disk.a": 5, "disk.b": 4}
    assert past.by_disk("a", IO) == {}
    past.keep("a", [GivenColumn(CPU, 8)])
    assert (past.value("a", CPU), past.value("a", IO), past.by_disk("a", DISK_IO)) == (8, 0, {})
    assert past.value("b", CPU) == 0
