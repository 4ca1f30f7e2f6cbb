"""Which GPUs Intel's device plugin allotted: it names them as the kernel numbers its cards.

https://github.com/intel/intel-device-plugins-for-kubernetes, cmd/gpu_plugin: card1-0, where the last number
counts the containers that may share a card (-shared-dev-num). Of a card that is divided (SR-IOV) only its
virtual functions are allotted, which are cards too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from joulebook.agent.drm import CARD, DRM_MAJOR, minors
from joulebook.agent.workloads.visible import HeldGpu, in_order

# Beside these there are i915_monitoring and xe_monitoring: whoever has that looks at all GPUs and holds none.
RESOURCES = frozenset(("gpu.intel.com/i915", "gpu.intel.com/xe"))
_DEVICE = re.compile(r"card([0-9]{1,6})-[0-9]{1,6}")


def allotted_by_intel(
    devices: Iterable[str], gpus: Sequence[HeldGpu], sysfs: Path
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the domains of devices; no part of a card is told."""
    by_number = {number: gpu.domain for gpu in gpus for number in gpu.device_numbers}
    cards = dict.fromkeys(found[1] for device in devices if (found := _DEVICE.fullmatch(device)))
    # A virtual function is a card of its own, whose joules are the whole card's.
    numbers = (
        (DRM_MAJOR, minor)
        for card in cards
        for minor in (int(card), *minors(sysfs / f"class/drm/card{card}/device/physfn", CARD))
    )
    return in_order(by_number.get(number, "") for number in numbers), {}
