"""What disks draw, against what their data sheets state."""

import pytest

from joulebook.agent.meters.disk_power import DISK_POWER, DiskPower
from joulebook.v1 import report_pb2

S = 1_000_000


def test_every_tier_that_spends_here_has_its_source() -> None:
    """Each tier says whose figures these are; what is spent elsewhere has none."""
    tiers = set(report_pb2.DiskTier.values())
    elsewhere = {report_pb2.DISK_TIER_UNSPECIFIED, report_pb2.DISK_TIER_VIRTUAL}
    assert set(DISK_POWER) == tiers - elsewhere
    for power in DISK_POWER.values():
        assert " W idle" in power.source
        assert 0 < power.idle_mw < power.max_mw
        assert (power.standby_mw is not None) == ("Standby: " in power.source)
        assert 0 < (power.standby_mw or 1) < power.idle_mw


@pytest.mark.parametrize(
    ("tier", "moved", "above_mw"),
    [
        # Bytes read and written, reads, writes of a second; what the sheet says above idle for that.
        (report_pb2.DISK_TIER_NVME, (7_000_000_000, 0, 0, 0), 15_000),
        (report_pb2.DISK_TIER_NVME, (0, 4_300_000_000, 0, 0), 15_000),
        (report_pb2.DISK_TIER_NVME, (4_096_000_000, 0, 1_000_000, 0), 15_000),
        (report_pb2.DISK_TIER_NVME, (0, 260_000 * 4096, 0, 260_000), 15_000),
        (report_pb2.DISK_TIER_SSD, (500_000_000, 0, 0, 0), 4500),
        (report_pb2.DISK_TIER_SSD, (0, 490_000_000, 0, 0), 4500),
        (report_pb2.DISK_TIER_SSD, (72_000 * 4096, 0, 72_000, 0), 4500),
        (report_pb2.DISK_TIER_SSD, (0, 33_000 * 4096, 0, 33_000), 4500),
        (report_pb2.DISK_TIER_HDD, (170 * 4096, 0, 170, 0), 4100),
        (report_pb2.DISK_TIER_HDD, (0, 550 * 4096, 0, 550), 1100),
    ],
)
def test_the_sheets_own_load_draws_what_the_sheet_says(
    tier: report_pb2.DiskTier.ValueType, moved: tuple[int, int, int, int], above_mw: int
) -> None:
    """A second of the load that a sheet states costs the power that it states, within 1 %."""
    assert DISK_POWER[tier].active_nj(*moved, S) == pytest.approx(above_mw * S, rel=0.01)


def test_no_load_draws_more_than_the_disk_can() -> None:
    """Sequential reads on a hard disk are many operations without a seek: the maximum bounds them."""
    power = DiskPower(5300, 9400, 24_100_000, 2_000_000, 6300, 6300, "")
    assert power.active_nj(270_000_000, 0, 2000, 0, S) == 4100 * S
    assert power.active_nj(0, 0, 0, 0, S) == 0
