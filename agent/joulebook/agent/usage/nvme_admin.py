"""Admin commands to an NVMe controller: linux/nvme_ioctl.h, and NVM Express Base Specification 2.0.

Three that read and change nothing: Identify Controller (CNS 01h), Get Features of Power Management (02h) and
Get Log Page of SMART / Health Information (02h).
"""

import ctypes
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# _IOWR('N', 0x41, struct nvme_admin_cmd).
ADMIN_COMMAND = 0xC0484E41
GET_LOG_PAGE, IDENTIFY, GET_FEATURES = 0x02, 0x06, 0x0A
_CONTROLLER, _SMART, _POWER_MANAGEMENT = 0x01, 0x02, 0x02
IDENTIFY_BYTES, SMART_BYTES = 4096, 512
_ALL_NAMESPACES = 0xFFFFFFFF
_TIMEOUT_MS = 2000
# In Identify Controller: the number of the last power state, and where the first one's descriptor is.
_LAST_STATE, _STATES, _STATE_BYTES = 263, 2048, 32
_MW_A_CENTIWATT, _UW_A_STEP = 10, 100
_NOT_OPERATIONAL, _FINE_SCALE = 0x02, 0x01
# Whatever a sensor says beyond is no disk's temperature.
_LEAST_K, _MOST_K = 200, 500
_MOST_COUNT = 1 << 60

# Sends a command to a controller's device file: opcode, namespace, cdw10, bytes of data that it gives.
# Returns its result and the data.
Admin = Callable[[Path, int, int, int, int], tuple[int, bytes]]


class Command(ctypes.Structure):
    """struct nvme_admin_cmd."""

    _fields_ = [
        ("opcode", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("rsvd1", ctypes.c_uint16),
        ("nsid", ctypes.c_uint32),
        ("cdw2", ctypes.c_uint32),
        ("cdw3", ctypes.c_uint32),
        ("metadata", ctypes.c_uint64),
        ("addr", ctypes.c_uint64),
        ("metadata_len", ctypes.c_uint32),
        ("data_len", ctypes.c_uint32),
        ("cdw10", ctypes.c_uint32),
        ("cdw11", ctypes.c_uint32),
        ("cdw12", ctypes.c_uint32),
        ("cdw13", ctypes.c_uint32),
        ("cdw14", ctypes.c_uint32),
        ("cdw15", ctypes.c_uint32),
        ("timeout_ms", ctypes.c_uint32),
        ("result", ctypes.c_uint32),
    ]


def send(device: Path, opcode: int, nsid: int, cdw10: int, size: int) -> tuple[int, bytes]:
    """Send a command that reads size bytes of data. ValueError: the controller refuses it."""
    data = ctypes.create_string_buffer(max(size, 1))
    command = Command(
        opcode=opcode,
        nsid=nsid,
        addr=ctypes.addressof(data) if size else 0,
        data_len=size,
        cdw10=cdw10,
        timeout_ms=_TIMEOUT_MS,
    )
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = fcntl.ioctl(fd, ADMIN_COMMAND, command, True)
    finally:
        os.close(fd)
    if status:
        raise ValueError(f"the controller refuses command {opcode:#04x}: status {status:#x}")
    return int(command.result), data.raw[:size]


@dataclass(frozen=True, slots=True)
class PowerState:
    """A power state: the most that the disk draws in it, and whether it serves reads and writes."""

    most_mw: int
    is_operational: bool


@dataclass(frozen=True, slots=True)
class Smart:
    """What the SMART log says: temperature in m°C (None: not told), shares in ppm, counts."""

    warnings: int
    temperature_mc: int | None
    spare_ppm: int
    used_ppm: int
    media_errors: int


def power_states(admin: Admin, device: Path) -> tuple[PowerState, ...]:
    """Return a controller's power states, from state 0 on."""
    _, data = admin(device, IDENTIFY, 0, _CONTROLLER, IDENTIFY_BYTES)
    return parse_power_states(data)


def power_state(admin: Admin, device: Path) -> int:
    """Return the number of the power state that a controller is in, however it came there."""
    result, _ = admin(device, GET_FEATURES, 0, _POWER_MANAGEMENT, 0)
    return result & 0x1F


def smart(admin: Admin, device: Path) -> Smart:
    """Return a controller's SMART log."""
    dwords = SMART_BYTES // 4 - 1
    _, data = admin(device, GET_LOG_PAGE, _ALL_NAMESPACES, _SMART | dwords << 16, SMART_BYTES)
    return parse_smart(data)


def parse_power_states(data: bytes) -> tuple[PowerState, ...]:
    """Parse Identify Controller: Number of Power States Support, and the Power State Descriptors."""
    if len(data) != IDENTIFY_BYTES:
        raise ValueError(f"Identify Controller of {len(data)} bytes: expected {IDENTIFY_BYTES}")
    last = data[_LAST_STATE]
    if last > 31:
        raise ValueError(f"Identify Controller: last power state {last}, expected 0 to 31")
    states = []
    for at in range(_STATES, _STATES + (last + 1) * _STATE_BYTES, _STATE_BYTES):
        number, flags = int.from_bytes(data[at : at + 2], "little"), data[at + 3]
        most_mw = number * _UW_A_STEP // 1000 if flags & _FINE_SCALE else number * _MW_A_CENTIWATT
        states.append(PowerState(most_mw, not flags & _NOT_OPERATIONAL))
    return tuple(states)


def parse_smart(data: bytes) -> Smart:
    """Parse the SMART / Health Information log."""
    if len(data) != SMART_BYTES:
        raise ValueError(f"SMART log of {len(data)} bytes: expected {SMART_BYTES}")
    kelvin = int.from_bytes(data[1:3], "little")
    spare, used = data[3], data[5]
    if kelvin and not _LEAST_K <= kelvin <= _MOST_K:
        raise ValueError(f"SMART log: {kelvin} K, expected {_LEAST_K} to {_MOST_K}")
    return Smart(
        warnings=data[0],
        temperature_mc=max(0, kelvin * 1000 - 273_150) if kelvin else None,
        spare_ppm=min(spare, 100) * 10_000,
        # A disk may be used beyond what it was made for; a share ends at the whole.
        used_ppm=min(used, 100) * 10_000,
        media_errors=min(int.from_bytes(data[160:176], "little"), _MOST_COUNT),
    )
