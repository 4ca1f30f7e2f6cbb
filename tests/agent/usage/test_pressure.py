"""Pressure stall information of the node."""

from pathlib import Path

from joulebook.agent.source import ABSENT, Roots
from joulebook.agent.usage.pressure import FIX_PSI, PressureUsage, parse_full, parse_some
from tests.fixtures.trees import build, roots_of

_IO = b"some avg10=0.06 avg60=0.09 avg300=0.08 total=169\nfull avg10=0.06 avg60=0.09 avg300=0.08 total=16\n"


def test_only_the_totals_are_read() -> None:
    """The totals of both lines are taken, whatever the averages."""
    assert (parse_some(_IO), parse_full(_IO)) == (169, 16)


def test_the_series_are_in_order(tmp_path: Path) -> None:
    """CPU some, memory some and full, IO some and full."""
    pressure = PressureUsage(build("xeon-2s", tmp_path))
    assert len(pressure.probe().series) == 5
    assert list(pressure.read(0)) == [52012345, 101, 55, 7023456, 6023456]
    pressure.close()


def test_a_kernel_without_psi_names_the_fix(tmp_path: Path) -> None:
    """Where the kernel keeps no PSI, the source is absent and says how to have it."""
    (finding,) = PressureUsage(roots_of(tmp_path)).probe().findings
    assert (finding.state, finding.fix) == (ABSENT, FIX_PSI)


def test_this_machine() -> None:
    """Totals of the machine at hand never fall."""
    pressure = PressureUsage(Roots())
    if pressure.probe().series:
        before, after = pressure.read(0), pressure.read(1)
        assert all(a <= b for a, b in zip(before, after, strict=True))
    pressure.close()
