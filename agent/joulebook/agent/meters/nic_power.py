"""What network cards draw, by chip, each with its source; and which cards a node has.

A card is taken to draw what its maker calls typical, whatever it carries: makers state neither what it draws
idle nor what a byte costs. They state it for passive copper cables: what optical modules draw is not in it.
Cards with one chip differ in ports and cages. All of that is in the ±. A card whose maker's figure was not
found is not modelled.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from joulebook.agent.source import Roots
from joulebook.agent.sysfs import text

# domain:bus:device.function; the functions of one device are one card's ports.
_ADDRESS = re.compile(r"([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]")
_ID = re.compile(rb"0x([0-9a-f]{4})")
# virtio, VMware, Microsoft, Google, Amazon: cards of a hypervisor, which spend where it runs.
_VIRTUAL = ("1af4", "15ad", "1414", "1ae0", "1d0f")


@dataclass(frozen=True, slots=True)
class NicPower:
    """What a card draws typically and at most; source: who says so."""

    typical_mw: int
    max_mw: int
    source: str


_CONNECTX_5 = NicPower(
    12_950,
    15_550,
    "NVIDIA ConnectX-5 Ethernet Adapter Cards for OCP Spec 2.0 User Manual, Specifications, MCX542A-ACAN:"
    " typically 12.95 W (ATIS traffic), at most 15.55 W, passive cables",
)
# By PCI vendor and device, as sysfs tells them.
NIC_POWER = {
    "15b3:1017": _CONNECTX_5,
    "15b3:1019": _CONNECTX_5,
    # ConnectX and ConnectX-2 with QDR.
    "15b3:673c": NicPower(
        12_230,
        14_320,
        "Sun Dual Port 4x QDR InfiniBand Host Channel Adapter PCIe User's Guide (820-6536), table A-1:"
        " typically 12.23 W, at most 14.32 W",
    ),
}


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """A card: its PCI address without function, vendor:device, and what the kernel calls its ports."""

    address: str
    chip: str
    ports: tuple[str, ...]


def find_cards(roots: Roots) -> list[NetworkCard]:
    """Find the network cards of a node: /sys/class/{net,infiniband}, Documentation/ABI/testing/sysfs-bus-pci.

    Virtual functions are their card's; what is not on PCI, or does not tell what it is, is left out.
    """
    chips: dict[str, str] = {}
    ports: dict[str, list[str]] = {}
    for kind in ("net", "infiniband"):
        for path in sorted((roots.sysfs / "class" / kind).glob("*/device")):
            device = path.resolve()
            match = _ADDRESS.fullmatch(device.name)
            chip = _chip(device)
            if match is None or not chip or chip[:4] in _VIRTUAL or (device / "physfn").exists():
                continue
            chips.setdefault(match[1], chip)
            ports.setdefault(match[1], []).append(path.parent.name)
    return [NetworkCard(address, chips[address], tuple(ports[address])) for address in sorted(chips)]


def _chip(device: Path) -> str:
    ids = [_ID.fullmatch(text(device / name)) for name in ("vendor", "device")]
    return ":".join(match[1].decode() for match in ids if match) if all(ids) else ""
