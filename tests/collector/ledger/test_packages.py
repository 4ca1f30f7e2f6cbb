"""Each CPU package's energy goes to who runs on it, as far as cpusets tell."""

import numpy as np
import pytest

from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.domains import CPU
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.collector.ledger.policy import Policy
from joulebook.collector.ledger.stack import Readings
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2

SECOND_US = 1_000_000
# Energy of a tick of each package beyond its floor, J; of the floor.
ACTIVE, FLOOR = (100, 20), 30


def _booked(
    jobs: dict[str, tuple[int, tuple[int, ...]]],
    busy_us: tuple[int, ...] | None,
    policy: Policy = Policy.NONE,
    reserved_cpus: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return J of each account by active and idle CPU energy. jobs: CPU µs, and the packages of the cpuset.

    busy_us: CPU time of each package; None: the node does not tell packages apart.
    """
    message = report_pb2.Layout(node="n1", session_us=1)
    message.host.logical_cpus, message.host.packages, message.host.memory_bytes = 8, 2, 1 << 30
    keys, values = [(m.METRIC_NODE_CPU_BUSY, 0, 0, 0)], [sum(cpu for cpu, _ in jobs.values()) + 1_000_000]
    for place, active in enumerate(ACTIVE, start=1):
        message.domains.add(name=f"cpu.{place - 1}", source="rapl", kind=report_pb2.SOURCE_KIND_COUNTER)
        keys += [(m.METRIC_DOMAIN_ENERGY, place, 0, 0), (m.METRIC_DOMAIN_IDLE_POWER, place, 0, 0)]
        values += [(active + FLOOR) * 1_000_000, 0]
        if busy_us is not None:
            message.devices.add(name=f"cpu.{place - 1}", kind=report_pb2.DEVICE_KIND_PACKAGE)
            keys.append((m.METRIC_DEVICE_CPUS_BUSY, 0, place, 0))
            values.append(busy_us[place - 1])
    for place, (job, (cpu_us, packages)) in enumerate(jobs.items(), start=1):
        message.workloads.add(
            id=job,
            kind=report_pb2.WORKLOAD_KIND_JOB,
            cpu_domain=[package + 1 for package in packages],
            reserved_millicpus=1000 * reserved_cpus,
        )
        keys.append((m.METRIC_WORKLOAD_CPU, 0, 0, place))
        values.append(cpu_us)
    for metric, domain, device, workload in keys:
        message.series_metric.append(metric)
        message.series_domain.append(domain)
        message.series_device.append(device)
        message.series_workload.append(workload)
    first = [FLOOR * 1000 if key[0] == m.METRIC_DOMAIN_IDLE_POWER else 0 for key in keys]
    table = np.array([first, values], dtype=np.int64).T
    books = book([Readings(NodeLayout(1, message), np.array([SECOND_US]), table)], policy)
    assert books.residual_uj.tolist() == [0]
    both = zip(books.account, books.active_uj[:, CPU] / 1e6, books.idle_uj[:, CPU] / 1e6, strict=True)
    return {account: (round(active, 6), round(idle, 6)) for account, active, idle in both}


def test_a_job_pays_for_its_own_package_only() -> None:
    """Two jobs of as much CPU time on two packages pay what their packages drew, not half of both."""
    booked = _booked({"a": (2_000_000, (0,)), "b": (2_000_000, (1,))}, (2_000_000, 2_000_000))
    assert (booked["job:a"][0], booked["job:b"][0]) == ACTIVE


def test_what_may_run_anywhere_is_where_time_is_left() -> None:
    """A job without a cpuset is charged by the CPU time that confined jobs leave of each package."""
    booked = _booked({"a": (2_000_000, (0,)), "b": (3_000_000, ())}, (2_000_000, 3_000_000))
    assert (booked["job:a"][0], booked["job:b"][0]) == ACTIVE


def test_time_that_no_job_had_is_the_systems_on_its_package() -> None:
    """The system pays on the package where CPU time is left over, and there alone."""
    booked = _booked({"a": (2_000_000, (0,)), "b": (1_000_000, (1,))}, (2_000_000, 4_000_000))
    assert booked["job:a"][0] == ACTIVE[0]
    assert (booked["job:b"][0], booked["system"][0]) == (ACTIVE[1] / 4, ACTIVE[1] * 3 / 4)


def test_without_cpusets_both_packages_go_by_the_nodes_time() -> None:
    """Nothing told: as ever, every package is split by the node's CPU time, the system's part included."""
    booked = _booked({"a": (2_000_000, ()), "b": (1_000_000, ())}, None)
    assert booked["job:a"][0] == sum(ACTIVE) / 2
    assert booked["job:b"][0] == booked["system"][0] == sum(ACTIVE) / 4


@pytest.mark.parametrize(("packages", "idle"), [((0,), FLOOR / 2), ((0, 1), FLOOR / 2)])
def test_what_is_held_is_held_where_the_cpuset_is(packages: tuple[int, ...], idle: float) -> None:
    """Two of eight CPUs are half of one package's floor, or a quarter of each of both."""
    booked = _booked({"a": (1_000_000, packages), "b": (0, (1,))}, (500_000, 500_000), Policy.RESERVED, 2)
    assert booked["job:a"][1] == idle


def test_cpusets_without_packages_told_apart_share_what_is_known() -> None:
    """An agent that tells cpusets and not the packages' time has each job pay on its own packages."""
    booked = _booked({"a": (2_000_000, (0,)), "b": (2_000_000, (1,))}, None)
    assert (booked["job:a"][0], booked["job:b"][0]) == ACTIVE
