"""Reports of a known node, for spools."""

from dataclasses import dataclass, field

import pytest

from joulebook.agent.outbox import Entry, Key
from tests.simulated.node import Load, SimulatedNode


@dataclass
class Source:
    """Gives a node's Reports one after another, and remembers them."""

    node: SimulatedNode = field(default_factory=SimulatedNode)
    given: dict[Key, bytes] = field(default_factory=dict)
    _jobs: int = 0

    def __post_init__(self) -> None:
        self.new_layout()

    def new_layout(self) -> None:
        """Have another job on the node from now on."""
        self._jobs += 1
        self.node.begin([Load(f"slurm.{self._jobs}", cpu_us=1_000_000, memory_bytes=1 << 30)])

    def entry(self, ticks: int = 10) -> Entry:
        """Return the next Report."""
        for _ in range(ticks):
            self.node.tick()
        report = self.node.report()
        entry = Entry(report, self.node.layouts[report.layout_hash])
        self.given[entry.key] = report.SerializeToString()
        return entry


@pytest.fixture
def source() -> Source:
    """Return a node's Reports."""
    return Source()
