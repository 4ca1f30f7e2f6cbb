"""Every scene."""

from __future__ import annotations

from tests.crashes.backing_up import BackingUp
from tests.crashes.committing import Committing
from tests.crashes.mending import Mending
from tests.crashes.migrating import Migrating
from tests.crashes.scene import Scene
from tests.crashes.settling import Settling

_ALL: tuple[Scene, ...] = (Committing(), Settling(), BackingUp(), Migrating(), Mending())
SCENES = {scene.name: scene for scene in _ALL}
