"""A recorded scene, and what crashes at its operations leave."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.crashes.medium import Content, Medium, found_below, laid_out
from tests.crashes.recording import Operation, recorded
from tests.crashes.scene import Scene

_SAID = "said"
HOW = ("killed", "killed within", "power cut")


@dataclass(frozen=True, slots=True)
class Crash:
    """What a crash after so many operations leaves, how it came, and what was said before."""

    after: int
    how: str
    content: Content
    said: list[str]


@dataclass(frozen=True, slots=True)
class Recording:
    """A scene's operations, and what was there before."""

    scene: Scene
    before: Content
    operations: list[Operation]

    def crashes(self, points: Iterable[int], how: str, seed: int = 0) -> Iterator[Crash]:
        """Give what crashes after so many operations leave; points are in order."""
        medium, said, done = Medium(self.before), _Said(), 0
        for point in points:
            for operation in self.operations[done:point]:
                medium.apply(operation)
                said.hear(operation)
            done = point
            rng = Random(f"{seed} {self.scene.name} {how} {point}")
            if how == "power cut":
                content = medium.power_cut(rng)
            else:
                content = medium.killed()
                if how == "killed within" and point < len(self.operations):
                    medium.torn(content, self.operations[point], rng)
            content.pop(_SAID, None)
            yield Crash(point, how, content, list(said.lines))


class _Said:
    """Hears what the scene says among its operations."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._descriptor = -1

    def hear(self, operation: Operation) -> None:
        if operation.kind == "o" and operation.paths == [_SAID]:
            self._descriptor = operation.descriptor
        elif operation.kind == "w" and operation.descriptor == self._descriptor:
            self.lines.append(operation.data.decode().strip())


def record(scene: Scene, library: Path, directory: Path) -> Recording:
    """Have a scene happen in a program of its own, and make sure that nothing of it escaped."""
    root = directory / scene.name
    root.mkdir()
    scene.prepare(root)
    before = found_below(root)
    operations = recorded(library, root, ["-m", "tests.crashes.act", scene.name, str(root)])
    medium = Medium(before)
    for operation in operations:
        medium.apply(operation)
    assert medium.killed() == found_below(root), "the recording is not what was done"
    return Recording(scene, before, operations)


def check(scene: Scene, crash: Crash) -> None:
    """Lay out what a crash left, and have the scene check it."""
    with tempfile.TemporaryDirectory(prefix="joulebook-crash-") as directory:
        root = Path(directory)
        laid_out(crash.content, root)
        try:
            scene.check(root, crash.said)
        except BaseException as error:
            error.add_note(
                f"{scene.name}, {crash.how} after operation {crash.after}; said: {crash.said[-3:]}"
            )
            raise
