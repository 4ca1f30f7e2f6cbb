"""What disks draw, by tier: idle watts, and joules an operation and a byte, each with its source.

From what a data sheet states: idle power, power at work, and the rates at which it works. A byte costs the
power above idle over the bytes a second of sequential transfers; an operation what random ones of 4 KiB cost
above their bytes. Most sheets state one power for all work: the dearest kind is met, the others are upper
bounds. max_mw bounds everything. standby_mw is what a hard disk draws while its spindle stands still.
"""

from dataclasses import dataclass

from joulebook.v1 import report_pb2

# mW a byte a second are mJ a byte; 10^9 pJ a mJ.
_PJ = 10**9
_NJ = 10**6
_RANDOM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class DiskPower:
    """What a disk draws idle and at most, and what an operation and a byte add; source: who says so.

    standby_mw is None where nothing tells that a disk of the kind is in standby, or what it draws then.
    """

    idle_mw: int
    max_mw: int
    read_nj: int
    write_nj: int
    read_byte_pj: int
    write_byte_pj: int
    source: str
    standby_mw: int | None = None

    def active_nj(self, read_bytes: int, written_bytes: int, reads: int, writes: int, elapsed_us: int) -> int:
        """Return what was drawn above idle for work done in a time, at most what the disk can draw in it."""
        work_nj = (
            reads * self.read_nj
            + writes * self.write_nj
            + (read_bytes * self.read_byte_pj + written_bytes * self.write_byte_pj) // 1000
        )
        # mW · µs are nJ.
        return min(work_nj, (self.max_mw - self.idle_mw) * elapsed_us)


def stated(
    idle_mw: int,
    max_mw: int,
    read_bytes_per_s: int,
    write_bytes_per_s: int,
    reads_per_s: int,
    writes_per_s: int,
    source: str,
) -> DiskPower:
    """Work out a disk's power from what its data sheet states; operations are random ones of 4 KiB."""
    above_mw = max_mw - idle_mw
    read_pj, write_pj = above_mw * _PJ // read_bytes_per_s, above_mw * _PJ // write_bytes_per_s
    return DiskPower(
        idle_mw,
        max_mw,
        max(0, above_mw * _NJ // reads_per_s - _RANDOM_BYTES * read_pj // 1000),
        max(0, above_mw * _NJ // writes_per_s - _RANDOM_BYTES * write_pj // 1000),
        read_pj,
        write_pj,
        source,
    )


DISK_POWER = {
    report_pb2.DISK_TIER_NVME: stated(
        5000,
        20_000,
        7_000_000_000,
        4_300_000_000,
        1_000_000,
        260_000,
        "Intel SSD D7-P5600, announcement of June 2020: 5 W idle, 20 W at work; 7.0 GB/s read, 4.3 GB/s"
        " written; 1,000,000 random reads, 260,000 random writes a second",
    ),
    report_pb2.DISK_TIER_SSD: stated(
        1100,
        5600,
        500_000_000,
        490_000_000,
        72_000,
        33_000,
        "Intel SSD DC S4500, product specification: 1.1 W idle, up to 5.6 W active; 500 MB/s read, 490 MB/s"
        " written; 72,000 random reads, 33,000 random writes a second",
    ),
    # A hard disk's sheet states the power of random reads and of random writes apart. What sequential
    # transfers draw it does not state: the bytes are an estimate, at 7 W and 270 MB/s.
    report_pb2.DISK_TIER_HDD: DiskPower(
        5300,
        9400,
        24_092_000,
        1_974_000,
        6300,
        6300,
        "Seagate Exos X18, data sheet DS2045: 5.3 W idle, 9.4 W at 170 random reads a second, 6.4 W at 550"
        " random writes; bytes estimated. Standby: Seagate Constellation ES.3 SAS, product manual Rev. B,"
        " table 4: 0.23 A of 5 V and 0.01 A of 12 V (tables of ES.1 and ES.2: 1.3 to 1.5 W)",
        standby_mw=1270,
    ),
}
