"""Device files of GPUs, whose numbers are their names' (drivers/gpu/drm/drm_drv.c, drm_minor_alloc())."""

import os
import re
from pathlib import Path

DRM_MAJOR = 226
CARD, RENDER = "card", "renderD"
_NODE = re.compile(rf"({CARD}|{RENDER})([0-9]{{1,6}})")


def minors(device: Path, *kinds: str) -> list[int]:
    """Return the minor numbers of the device files, of these kinds, of a device in sysfs."""
    try:
        nodes = os.listdir(device / "drm")  # noqa: PTH208  (names are all)
    except OSError:
        return []
    found = (_NODE.fullmatch(node) for node in nodes)
    return [int(node[2]) for node in found if node and node[1] in kinds]
