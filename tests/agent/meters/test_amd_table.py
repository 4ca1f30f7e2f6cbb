"""AMD's gpu_metrics in every revision, made from the kernel's declarations by the rules of C."""

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.amd_layouts import TableError
from joulebook.agent.meters.amd_table import AmdTable, Residency, parse
from tests.fixtures.amd.tables import DECLARED, table

# What the declarations amount to with 64 bits.
SIZES = {
    (1, 3): 120,
    (1, 4): 288,
    (1, 5): 360,
    (1, 6): 1664,
    (1, 7): 2208,
    (1, 8): 3360,
    (2, 4): 168,
    (3, 0): 264,
}
GIVEN: dict[str, Any] = {
    "temperature_edge": 45,
    "temperature_hotspot": 60,
    "temperature_mem": 70,
    "temperature_gfx": 45,
    "average_gfx_activity": 90,
    "average_umc_activity": 30,
    "average_socket_power": 250,
    "curr_socket_power": 250,
    "energy_accumulator": 65_536,
    "current_gfxclk": 1700,
    "current_uclk": 1600,
    "average_gfxclk_frequency": 1700,
    "pcie_link_width": 16,
    "pcie_link_speed": 160,
    "pcie_replay_count_acc": 3,
    "xgmi_read_data_acc": [1, 2],
    "xgmi_write_data_acc": [4],
    "indep_throttle_status": 1 << 36,
    "accumulation_counter": 1000,
    "ppt_residency_acc": 100,
    "prochot_residency_acc": 0,
    "socket_thm_residency_acc": 40,
    "vr_thm_residency_acc": 50,
    "hbm_thm_residency_acc": 30,
    "num_partition": 1,
}


def given_for(revision: tuple[int, int]) -> dict[str, Any]:
    """Return what a revision is given: lists where it has several, hundredths where it tells those."""
    values = dict(GIVEN)
    if (1, 4) <= revision < (2, 0):
        values["current_gfxclk"] = [1500, 1700]
    if revision == (2, 4):
        values |= {"temperature_gfx": 4500, "average_gfx_activity": 9000, "average_socket_power": 25_000}
    if revision == (3, 0):
        values |= {"temperature_gfx": 4500, "average_socket_power": 250_000}
    return values


@pytest.mark.parametrize("revision", DECLARED)
def test_every_revision_is_read_as_it_is_declared(revision: tuple[int, int]) -> None:
    """The same figures come out of each layout, in the catalogue's units; what it has not is not made up."""
    raw = table(revision, **given_for(revision))
    assert len(raw) == SIZES.get(revision, len(raw))
    found = parse(raw)
    is_new, is_old = (1, 4) <= revision < (2, 0), revision < (1, 4)
    is_apu = revision > (2, 0)
    assert found == AmdTable(
        revision=revision,
        power_mw=25_000 if revision == (2, 4) else 250_000,
        energy_uj=1_000_000 if is_new else None,
        temperature_mc=45_000 if is_apu else 60_000,
        memory_temperature_mc=None if is_apu else 70_000,
        utilisation_ppm=900_000,
        memory_utilisation_ppm=None if is_apu else 300_000,
        clock_khz=None if revision == (1, 0) else 1_700_000,
        memory_clock_khz=None if revision in ((1, 0), (3, 0)) else 1_600_000,
        throttled=(False, True, False) if revision == (1, 3) or (2, 2) <= revision < (3, 0) else None,
        residency=Residency(1000, 100, 50) if (1, 6) <= revision < (2, 0) else None,
        pcie_generation=None if is_apu or revision == (1, 0) else 4,
        pcie_width=None if is_apu or revision == (1, 0) else 16,
        pcie_replays=3 if is_new else None,
        links_received_bytes=3 * 1024 if is_new else None,
        links_sent_bytes=4 * 1024 if is_new else None,
        partitions=1 if (1, 6) <= revision < (2, 0) else None,
    )
    assert is_old or is_new or is_apu


@pytest.mark.parametrize("revision", DECLARED)
def test_what_is_all_ones_is_not_there(revision: tuple[int, int]) -> None:
    """A table that holds nothing tells nothing."""
    assert parse(table(revision)) == AmdTable(revision)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"\x60", "1 bytes", id="one byte"),
        pytest.param(table((1, 3))[:119], "119 bytes of v1.3: expected 120", id="cut short"),
        pytest.param(b"\x08\x00\x01\x03" + bytes(200), "8 bytes of v1.3", id="said to be shorter than it is"),
        pytest.param(b"\xff\xff\x01\x09" + bytes(200), "v1.9 is not known", id="v1.9 holds pointers"),
        pytest.param(b"garbage!" * 500, "not known", id="text"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(raw: bytes, says: str) -> None:
    """Each fault is told with what was expected."""
    with pytest.raises(TableError, match=says):
        parse(raw)


@given(st.sampled_from(sorted(DECLARED)), st.binary(min_size=4096, max_size=4096))
def test_no_table_of_a_known_revision_crashes(revision: tuple[int, int], noise: bytes) -> None:
    """Whatever its bytes are, shares stay within the whole and nothing is negative."""
    found = parse(b"\xff\xff" + bytes(revision) + noise)
    for share in (found.utilisation_ppm, found.memory_utilisation_ppm):
        assert share is None or 0 <= share <= 1_000_000
    assert all(value is None or value >= 0 for value in (found.power_mw, found.energy_uj, found.clock_khz))


def test_the_declarations_are_laid_out_by_c() -> None:
    """The fixture is no copy of the parser: a member of 8 bytes begins at a multiple of 8."""
    kind: Any = type("Table", (ctypes.Structure,), {"_fields_": DECLARED[(1, 6)]})
    assert (kind.energy_accumulator.offset, kind.num_partition.offset) == (16, 306)
