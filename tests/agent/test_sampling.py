"""The ± of gauges as the agent sends it: in quadrature within a window, one window a set of workloads."""

from collections.abc import Sequence
from math import isqrt
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.meters.arbiter import Arbiter
from joulebook.agent.meters.counter import PowerIntegral
from joulebook.agent.meters.series import energy_series
from joulebook.agent.reading import reading
from joulebook.agent.sampler import Sampler
from joulebook.agent.sampling import SamplingError
from joulebook.agent.source import Domain, Finding, Meter, Probe
from joulebook.agent.sources import Sources
from joulebook.agent.workloads.workloads import Workloads
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from tests.simulated.no_jobs import NoJobs

S = 1_000_000


@given(st.lists(st.integers(0, 10**24), min_size=1, max_size=60))
def test_within_a_window_variances_add_and_the_series_never_falls(grown: list[int]) -> None:
    """Up to any moment the increments are 1.96 deviations of all that was since the window began."""
    error = SamplingError()
    shown, total = error.update(0, 0), 0
    for second, each in enumerate(grown, start=1):
        total += each
        before, shown = shown, error.update(second * S, total)
        assert shown >= before
        assert shown == isqrt(total * 196**2) // 100_000


def test_a_window_ends_after_ten_minutes_and_where_it_is_renewed() -> None:
    """Two windows of the same variance have twice the ± of one."""
    error = SamplingError()
    error.update(0, 7)
    one = error.update(600 * S, 7 + 10**16)
    assert one == 196 * 10**8 // 10**5
    assert error.update(1200 * S, 7 + 2 * 10**16) == 2 * one
    error.renew()
    assert error.update(1201 * S, 7 + 3 * 10**16) == 3 * one
    # Another meter's variance begins anew.
    assert error.update(1202 * S, 5) == 3 * one


class _Gauge:
    """A meter of the node by a gauge, beside a package that is modelled."""

    name = "bmc"

    def __init__(self) -> None:
        self.power_mw = 100_000
        self.integral = PowerIntegral()

    def probe(self) -> Probe:
        kinds = {"node": report_pb2.SOURCE_KIND_INSTANT_POWER, "cpu.0": report_pb2.SOURCE_KIND_MODEL}
        domains = tuple(Domain(name, self.name, kind, 1, 1000, 50_000) for name, kind in kinds.items())
        return Probe(energy_series(kinds), domains)

    def read(self, now_us: int) -> Sequence[int]:
        self.integral.update(self.power_mw, now_us)
        return self.integral.energy_uj, self.integral.unread_us, 0, 0

    def variances_nj2(self) -> tuple[int, ...]:
        return self.integral.variance_nj2, 0

    def findings(self) -> tuple[Finding, ...]:
        return ()

    def offsets_uj(self) -> tuple[int, ...]:
        return 0, 0

    def close(self) -> None:
        """Hold nothing."""


class _Jobs(NoJobs):
    """Workloads whose set changes when the test says so."""

    came = False

    def refresh(self, now_us: int) -> bool:
        """Tell of a change once."""
        del now_us
        came, self.came = self.came, False
        return came

    def baseline(self) -> list[int]:
        """Have no readings to begin at."""
        return []


def test_reports_have_the_error_of_what_a_gauge_measures_alone() -> None:
    """It is a series of the gauge's domain alone; a change of the workloads begins a window."""
    now_us = 100 * S
    gauge, jobs = _Gauge(), _Jobs()
    arbiter = Arbiter([(cast(Meter, gauge), gauge.probe())])
    sent: list[tuple[report_pb2.Report, report_pb2.Layout]] = []
    sampler = Sampler(
        "n1",
        bytes(16),
        report_pb2.Host(logical_cpus=4, packages=1, memory_bytes=1 << 33),
        [(arbiter, arbiter.probe())],
        [arbiter],
        cast(Workloads, jobs),
        lambda report, layout: sent.append((report, report_pb2.Layout.FromString(layout))),
        clock=lambda: now_us,
        wall_clock_ns=lambda: now_us * 1000,
    )
    sampler.start()
    for power_mw in (200_000, 100_000, 200_000, 100_000):
        jobs.came = power_mw == 100_000
        now_us, gauge.power_mw = now_us + S, power_mw
        sampler.tick()
    sampler.cut()
    increments = []
    for report, layout in sent:
        row = list(layout.series_metric).index(metrics.METRIC_DOMAIN_SAMPLING)
        assert layout.domains[layout.series_domain[row] - 1].name == "node"
        assert list(layout.series_metric).count(metrics.METRIC_DOMAIN_SAMPLING) == 1
        width = len(report.interval_us) + 1
        increments.append(list(report.values[row * width + 1 : (row + 1) * width]))
    # Each change of 100 W over a second has a deviation of 100 J. Two in one window add in quadrature.
    one, two = 196 * S, isqrt(2 * (196 * S) ** 2)
    assert increments == [[one], [one, two - one], [one]]
    told = reading(*sent[-1], sampler, Sources())["domains"][0]
    assert told["plus_minus_uj"] == told["energy_uj"] * 5 // 100 + 1 + one
