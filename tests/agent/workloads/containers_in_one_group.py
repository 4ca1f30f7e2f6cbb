"""Containers of Docker in a group that counts what all of them do, and an agent that reads them."""

from pathlib import Path

from joulebook.agent.source import Metric
from joulebook.agent.workloads.workloads import Workloads
from tests.fixtures.cgroups.fake import V1, V2, FakeCgroups

COUNT = 100


class Containers:
    """Containers of Docker, whose group counts all that they do, as the kernel has it."""

    def __init__(
        self, directory: Path, version: str = V2, count: int = COUNT, above: str = "/docker"
    ) -> None:
        self.fake = FakeCgroups(directory, version)
        self.above = above
        self.cpu_us, self.memory_bytes, self.io_bytes = ([1] * count for _ in range(3))
        self._show_above()
        for number in range(count):
            self.fake.make(self.path(number), 1, 1, 1)
        self.workloads = Workloads(self.fake.roots)
        self.workloads.refresh(0)

    def path(self, number: int) -> str:
        return f"{self.above}/{number:064x}"

    def use(self, number: int, cpu_us: int = 0, memory_bytes: int = 0, io_bytes: int = 0) -> None:
        self.cpu_us[number] += cpu_us
        self.memory_bytes[number] += memory_bytes
        self.io_bytes[number] += io_bytes
        figures = self.cpu_us[number], self.memory_bytes[number], self.io_bytes[number]
        self.fake.make(self.path(number), *figures)
        self._show_above()

    def _show_above(self) -> None:
        self.fake.make(self.above, sum(self.cpu_us), sum(self.memory_bytes), sum(self.io_bytes))
        if self.fake.version == V1:
            for directory in self.fake.directories(self.above):
                (directory / "memory.use_hierarchy").write_text("1\n")

    def shown(self, metric: Metric) -> list[int]:
        """Do a tick; return what the containers show."""
        pairs = zip(self.workloads.series, self.workloads.read(0), strict=True)
        return [value for series, value in pairs if series.metric == metric and "docker" in series.workload]

    def settle(self) -> None:
        for _ in range(12):
            self.workloads.refresh(0)
            self.workloads.read(0)
