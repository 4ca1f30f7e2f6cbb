"""The program that is recorded: `python -m tests.crashes.act SCENE ROOT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.crashes.scenes import SCENES


def main(name: str, root: Path) -> None:
    """Do what a scene is made of."""
    said = os.open(root / "said", os.O_WRONLY | os.O_CREAT)

    def say(what: str) -> None:
        os.write(said, f"{what}\n".encode())

    SCENES[name].act(root, say)
    os.close(said)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
