"""Every scene."""

from __future__ import annotations

from tests.crashes.backing_up import BackingUp
from tests.crashes.committing import Committing
from tests.crashes.forgetting import Forgetting
from tests.crashes.mending import Mending
from tests.crashes.migrating import Migrating
from tests.crashes.scene import Scene
from tests.crashes.settling import Settling
from tests.crashes.taking_back import TakingBack

_ALL: tuple[Scene, ...] = (
    Committing(),
    Settling(),
    Forgetting(),
    BackingUp(),
    TakingBack(),
    Migrating(),
    Mending(),
)
SCENES = {scene.name: scene for scene in _ALL}
