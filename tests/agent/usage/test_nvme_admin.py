"""NVMe's admin commands: our structure against the kernel's header, answers by the specification's bytes."""

import contextlib
import ctypes
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.usage.nvme_admin import (
    ADMIN_COMMAND,
    IDENTIFY_BYTES,
    Command,
    PowerState,
    Smart,
    parse_power_states,
    parse_smart,
    power_state,
    send,
    smart,
)
from tests.servers.programs import program
from tests.simulated.garbage import spoilt_bytes

_PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/nvme_ioctl.h>
#define AT(field) printf("%zu ", offsetof(struct nvme_admin_cmd, field))
int main(void) {
  printf("%lu %zu ", (unsigned long)NVME_IOCTL_ADMIN_CMD, sizeof(struct nvme_admin_cmd));
  AT(nsid); AT(addr); AT(data_len); AT(cdw10); AT(timeout_ms); AT(result);
}
"""


def test_structure_and_number_are_the_headers(tmp_path: Path) -> None:
    """Size, offsets and the ioctl's number are what a C compiler makes of linux/nvme_ioctl.h."""
    compiler = program("gcc", package="gcc")
    (tmp_path / "told.c").write_text(_PROGRAM)
    subprocess.run([compiler, "-o", tmp_path / "told", tmp_path / "told.c"], check=True)
    told = subprocess.run([tmp_path / "told"], check=True, capture_output=True, text=True).stdout
    fields = (Command.nsid, Command.addr, Command.data_len, Command.cdw10, Command.timeout_ms, Command.result)
    ours = (ADMIN_COMMAND, ctypes.sizeof(Command), *(field.offset for field in fields))
    assert told.split() == [str(number) for number in ours]


def identify(*states: tuple[int, int]) -> bytes:
    """Return Identify Controller with these power states: maximum power as written, and flags."""
    data = bytearray(IDENTIFY_BYTES)
    data[263] = len(states) - 1
    for number, (power, flags) in enumerate(states):
        at = 2048 + 32 * number
        data[at : at + 2] = power.to_bytes(2, "little")
        data[at + 3] = flags
    return bytes(data)


def smart_log(kelvin: int = 313, **places: int) -> bytes:
    """Return a SMART log of this temperature; others as b<place>, counts of 16 bytes as c<place>."""
    data = bytearray(512)
    data[1:3] = kelvin.to_bytes(2, "little")
    data[3] = 100
    for name, value in places.items():
        at = int(name[1:])
        size = 16 if name[0] == "c" else 1
        data[at : at + size] = value.to_bytes(size, "little")
    return bytes(data)


def test_power_states() -> None:
    """In 0.01 W, or 0.0001 W where the scale says so; states of rest serve nothing."""
    # 8.25 W, 4.5 W, 50.0 mW and 4.9 mW: the last two are not operational, in the fine scale.
    data = identify((825, 0), (450, 0), (500, 3), (49, 3))
    assert parse_power_states(data) == (
        PowerState(8250, is_operational=True),
        PowerState(4500, is_operational=True),
        PowerState(50, is_operational=False),
        PowerState(4, is_operational=False),
    )


@pytest.mark.parametrize("data", [b"", bytes(512), b"\xff" * IDENTIFY_BYTES])
def test_identify_that_is_none_is_refused(data: bytes) -> None:
    """Cut short, or all ones as from a device that fell off the bus."""
    with pytest.raises(ValueError, match="Identify Controller"):
        parse_power_states(data)


def test_smart() -> None:
    """Kelvin become m°C, per cent ppm; what is beyond the whole is the whole; counts are of 128 bits."""
    data = smart_log(313, b0=0b101, b3=97, b5=130, c160=1 << 70)
    assert parse_smart(data) == Smart(5, 39_850, 970_000, 1_000_000, 1 << 60)
    assert parse_smart(smart_log(0)).temperature_mc is None
    assert parse_smart(smart_log(260)).temperature_mc == 0


@pytest.mark.parametrize("data", [b"", bytes(511), smart_log(65_535), smart_log(1)])
def test_a_log_that_is_none_is_refused(data: bytes) -> None:
    """Another length, or a temperature that no disk has."""
    with pytest.raises(ValueError, match="SMART log"):
        parse_smart(data)


def test_commands_are_as_specified() -> None:
    """The state is in the low five bits of Get Features 02h; the log page is asked for whole."""
    sent: list[tuple[int, int, int, int]] = []

    def admin(_device: Path, opcode: int, nsid: int, cdw10: int, size: int) -> tuple[int, bytes]:
        sent.append((opcode, nsid, cdw10, size))
        return 0b111_00011, smart_log() if size else b""

    assert power_state(admin, Path("nvme0")) == 3
    assert smart(admin, Path("nvme0")).spare_ppm == 1_000_000
    assert sent == [(0x0A, 0, 0x02, 0), (0x02, 0xFFFFFFFF, 127 << 16 | 0x02, 512)]


def test_what_is_no_nvme_disk_says_so(tmp_path: Path) -> None:
    """A file that is not there, and one that takes no such command, are errors of the operating system."""
    with pytest.raises(FileNotFoundError):
        send(tmp_path / "nvme0", 0x0A, 0, 0x02, 0)
    (tmp_path / "nvme0").write_bytes(b"")
    with pytest.raises(OSError, match="ioctl"):
        send(tmp_path / "nvme0", 0x0A, 0, 0x02, 0)


@given(spoilt_bytes(bytes(4096)) | st.binary(min_size=4096, max_size=4096))
def test_identify_of_any_bytes_is_power_states_or_refused(data: bytes) -> None:
    """Whatever a controller says of itself, it is 1 to 32 states of whole milliwatts or a ValueError."""
    with contextlib.suppress(ValueError):
        states = parse_power_states(data)
        assert 1 <= len(states) <= 32
        assert all(type(state.most_mw) is int and 0 <= state.most_mw <= 655_350 for state in states)


@given(spoilt_bytes(bytes(512)) | st.binary(min_size=512, max_size=512))
def test_a_log_of_any_bytes_is_figures_or_refused(data: bytes) -> None:
    """Whatever stands in the SMART log, shares end at the whole nothing is below 0, or it is a ValueError."""
    with contextlib.suppress(ValueError):
        log = parse_smart(data)
        assert 0 <= log.spare_ppm <= 1_000_000
        assert 0 <= log.used_ppm <= 1_000_000
        assert log.temperature_mc is None or log.temperature_mc >= 0
        assert 0 <= log.media_errors < 1 << 63
