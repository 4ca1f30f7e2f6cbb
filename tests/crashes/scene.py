"""What a scene is: something that a store does, and what must hold of what a crash left of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

# Says that something is done, or begins; it is written down among the operations.
Say = Callable[[str], None]


class Scene(Protocol):
    """One file has one."""

    name: str

    def prepare(self, root: Path) -> None:
        """Make what is there before, all of it durable."""

    def act(self, root: Path, say: Say) -> None:
        """Do it, in the program that is recorded."""

    def check(self, root: Path, said: list[str]) -> None:
        """Make sure that what a crash left is whole and can go on; said was said before the crash."""
