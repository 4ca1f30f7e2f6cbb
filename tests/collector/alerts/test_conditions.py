"""What Reports say of held GPUs and CPUs, against nodes of known truth."""

from dataclasses import replace
from typing import Any

import pytest

from joulebook.collector.alerts.alert import Key
from joulebook.collector.alerts.conditions import Condition, Conditions, Seen
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.names import CPU_HELD_IDLE, GPU_HELD_IDLE, NAMES, NODE_UNALLOCATED
from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.policy import Policy
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded
from tests.simulated.node import TICK_US, Load, SimulatedNode

_GPUS = ("gpu.0", "gpu.1")
_DOMAINS = [("cpu.0", report_pb2.SOURCE_KIND_COUNTER)]
_DOMAINS += [(gpu, report_pb2.SOURCE_KIND_COUNTER) for gpu in _GPUS]
_JOB = Load("slurm.42", user="ada", gpus_held=("gpu.0",))
_SYSTEM = Load("unit.sshd.service", report_pb2.WORKLOAD_KIND_SYSTEM)
_TICKS = 10


def _utilisation(*ppm: int) -> dict[tuple[int, str], int]:
    """Return what the driver tells of each GPU."""
    return {(m.METRIC_DEVICE_GPU_UTILISATION, gpu): value for gpu, value in zip(_GPUS, ppm, strict=True)}


def _node(**given: Any) -> SimulatedNode:
    """Return a node whose two GPUs idle at 60 W, of 700 W at most, unless it says otherwise."""
    idle: dict[str, Any] = {
        "domains": _DOMAINS,
        "gpu_uj": 60_000_000,
        "gpu_idle_mw": 60_000,
        "gpu_limit_mw": 700_000,
        "also": _utilisation(0, 0),
    }
    return SimulatedNode(**(idle | given))


def _seen(node: SimulatedNode, *loads: Load, policy: Policy = Policy.RESERVED) -> Seen:
    """Let ten seconds pass, and judge the Report of them."""
    node.begin(loads)
    for _ in range(_TICKS):
        node.tick()
    reports = decoded(node, [node.report()])
    books = book([one.readings for one in reports], policy)
    (seen,) = Conditions(AlertsConfig(), NAMES).seen(reports, books)
    return seen


def _gpu(job: str, gpu: str = "gpu.0") -> Key:
    return Key(GPU_HELD_IDLE, (("gpu", gpu), ("job", job), ("node", "n1")))


def _cpu(job: str) -> Key:
    return Key(CPU_HELD_IDLE, (("job", job), ("node", "n1")))


_NODE = Key(NODE_UNALLOCATED, (("node", "n1"),))


def test_idle_gpu() -> None:
    """A held GPU at utilisation 0 in the idle band wastes all that it draws; a free one is no subject."""
    seen = _seen(_node(), _JOB)
    evidence = {
        "power_mw": 60_000,
        "idle_power_mw": 60_000,
        # A fifth of the way to the limit.
        "idle_band_mw": 188_000,
        "gpu_utilisation_ppm": 0,
    }
    assert seen.holds == {_gpu("slurm.42"): Condition(_TICKS * TICK_US, _TICKS * 60_000_000, evidence)}
    assert seen.known == {_gpu("slurm.42"), _NODE}
    assert seen.users == {"slurm.42": "ada"}


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({"also": _utilisation(1, 0)}, False),
        # The other GPU is not its business.
        ({"also": _utilisation(0, 1_000_000)}, True),
        ({"gpu_uj": 188_000_000}, True),
        # Utilisation 0, but it draws: the driver cannot be right about both.
        ({"gpu_uj": 189_000_000}, False),
        # No limit is known: 30 W above the floor.
        ({"gpu_limit_mw": 0, "gpu_uj": 90_000_000}, True),
        ({"gpu_limit_mw": 0, "gpu_uj": 91_000_000}, False),
    ],
)
def test_gpu_at_the_edge_of_idleness(given: dict[str, Any], idle: bool) -> None:
    """Both must hold, utilisation 0 and power in the band; what does not is clear, not unknown."""
    seen = _seen(_node(**given), _JOB)
    assert (_gpu("slurm.42") in seen.holds, _gpu("slurm.42") in seen.clear) == (idle, not idle)


@pytest.mark.parametrize("given", [{"also": {}}, {"unread_us": TICK_US}])
def test_gpu_of_which_nothing_is_known(given: dict[str, Any]) -> None:
    """Where the driver tells no utilisation, or gave no reading, a held GPU is neither idle nor in use."""
    seen = _seen(_node(**given), replace(_JOB, reserved_millicpus=4000))
    assert not seen.holds
    assert seen.known == {_gpu("slurm.42"), _cpu("slurm.42"), _NODE}
    # Nor are the CPUs of its job: they may be feeding the GPU.
    assert seen.clear == {_NODE}


def test_time_without_a_reading_is_not_idleness() -> None:
    """Of a Report that was read in part, only that part counts."""
    seen = _seen(_node(unread_us=400_000), _JOB)
    condition = seen.holds[_gpu("slurm.42")]
    assert condition.observed_us == _TICKS * 600_000
    # What the counter counted meanwhile is held against the part that was read: 100 W, still in the band.
    assert condition.evidence["power_mw"] == 100_000


def test_shared_idle_gpu() -> None:
    """The waste of a GPU that several jobs hold is shared among them to the µJ."""
    jobs = [Load(f"slurm.{i}", gpus_held=("gpu.0",)) for i in (1, 2, 3)]
    seen = _seen(_node(gpu_uj=50_000_001), *jobs)
    wasted = [seen.holds[_gpu(job.id)].wasted_uj for job in jobs]
    assert sum(wasted) == _TICKS * 50_000_001
    assert max(wasted) - min(wasted) <= 1


def test_gpu_that_processes_rest_on() -> None:
    """Where nobody holds a GPU, the jobs with processes there do; the system's share is not theirs."""
    resting = Load("run.1", gpu_ppm={"gpu.0": 0})
    daemon = replace(_SYSTEM, gpu_ppm={"gpu.0": 0})
    assert _seen(_node(), resting).holds[_gpu("run.1")].wasted_uj == _TICKS * 60_000_000
    assert _seen(_node(), resting, daemon).holds[_gpu("run.1")].wasted_uj == _TICKS * 30_000_000
    # The one that it is reserved for holds it alone.
    assert set(_seen(_node(), _JOB, resting).holds) == {_gpu("slurm.42")}
    assert _seen(_node(), daemon).known == {_NODE}


@pytest.mark.parametrize(("cpu_us", "idle"), [(0, True), (200_000, True), (201_000, False)])
def test_idle_cpus(cpu_us: int, idle: bool) -> None:
    """A job that uses a twentieth of its 4 CPUs holds them idle; one that uses more does not."""
    seen = _seen(SimulatedNode(), Load("slurm.7", reserved_millicpus=4000, cpu_us=cpu_us), _SYSTEM)
    assert (_cpu("slurm.7") in seen.holds, _cpu("slurm.7") in seen.clear) == (idle, not idle)
    if idle:
        assert seen.holds[_cpu("slurm.7")].evidence["used_millicpus"] == cpu_us // 1000


@pytest.mark.parametrize("policy", list(Policy))
def test_waste_of_idle_cpus(policy: Policy) -> None:
    """The waste is the share of the idle floor that is reserved, whoever pays for it under the policy."""
    node = SimulatedNode(cpus=8)
    seen = _seen(node, Load("slurm.7", reserved_millicpus=2000), policy=policy)
    assert seen.holds[_cpu("slurm.7")].wasted_uj == _TICKS * node.idle_uj * 2 // 8


def test_idle_cpus_beside_a_busy_gpu() -> None:
    """CPUs that wait for the job's busy GPU are in use."""
    node = _node(also=_utilisation(900_000, 0))
    seen = _seen(node, replace(_JOB, reserved_millicpus=8000))
    assert seen.clear == {_gpu("slurm.42"), _cpu("slurm.42"), _NODE}
    # An idle GPU is no excuse.
    assert _cpu("slurm.42") in _seen(_node(), replace(_JOB, reserved_millicpus=8000)).holds


def test_node_without_a_job() -> None:
    """Without a job the node's idle energy is waste, what the system uses is not; with one there is none."""
    node = SimulatedNode()
    seen = _seen(node, replace(_SYSTEM, cpu_us=500_000))
    # The system's processes hold what they use: a sixteenth of 8 CPUs.
    assert 0 < seen.holds[_NODE].wasted_uj < node.measured_uj
    assert _NODE in _seen(node, Load("run.1")).clear


def test_rule_that_is_not_watched() -> None:
    """A rule that is not watched has no subjects, and costs the others none."""
    node = _node()
    node.begin([replace(_JOB, reserved_millicpus=4000)])
    node.tick()
    reports = decoded(node, [node.report()])
    books = book([one.readings for one in reports])
    (seen,) = Conditions(AlertsConfig(), {CPU_HELD_IDLE}).seen(reports, books)
    assert set(seen.holds) == {_cpu("slurm.42")}
