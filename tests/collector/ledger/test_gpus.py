"""Each GPU's energy goes to who uses and holds that GPU, exactly."""

import pytest

from joulebook.collector.ledger.book import book
from joulebook.collector.ledger.domains import CLASSES, GPU
from joulebook.collector.ledger.policy import Policy
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

COUNTER = report_pb2.SOURCE_KIND_COUNTER
SYSTEM = report_pb2.WORKLOAD_KIND_SYSTEM
GPUS = ("gpu.0", "gpu.1")
# A tick of a GPU: 100 J idle floor, 300 J beyond it.
FLOOR, ACTIVE = 100, 300


def _booked(*loads: Load, policy: Policy = Policy.RESERVED) -> dict[str, tuple[float, float]]:
    """Return the active and idle J of each account that received GPU energy in one tick."""
    node = SimulatedNode(
        domains=[(name, COUNTER) for name in ("cpu.0", *GPUS)],
        gpu_uj=(FLOOR + ACTIVE) * 1_000_000,
        gpu_idle_mw=FLOOR * 1000,
    )
    node.begin(loads)
    node.tick()
    books = book([d.readings for d in decoded(node, [node.report()])], policy)
    assert books.residual_uj.tolist() == [0]
    both = zip(books.account, books.active_uj[:, GPU] / 1e6, books.idle_uj[:, GPU] / 1e6, strict=True)
    return {account: (active, idle) for account, active, idle in both if active or idle}


def test_gpus_of_one_node_are_split_each_by_itself() -> None:
    """Two jobs on two GPUs of one node pay for their own, whatever the other draws."""
    one = Load("slurm.1", gpus_held=("gpu.0",), gpu_ppm={"gpu.0": 900_000})
    two = Load("slurm.2", gpus_held=("gpu.1",), gpu_ppm={"gpu.1": 100_000})
    assert _booked(one, two) == {"job:slurm.1": (ACTIVE, FLOOR), "job:slurm.2": (ACTIVE, FLOOR)}


def test_a_shared_gpu_goes_by_utilisation_and_its_floor_in_equal_parts() -> None:
    """Active energy follows what the driver says of processes; holding costs all holders alike."""
    loads = [Load(f"slurm.{n}", gpus_held=("gpu.0",), gpu_ppm={"gpu.0": n * 200_000}) for n in (1, 2)]
    booked = _booked(*loads)
    assert booked["job:slurm.1"] == (ACTIVE / 3, FLOOR / 2)
    assert booked["job:slurm.2"] == (ACTIVE * 2 / 3, FLOOR / 2)


def test_a_held_gpu_without_a_process_stays_with_its_holder() -> None:
    """Who holds a GPU pays for all that it draws while nobody is on it."""
    booked = _booked(Load("slurm.1", gpus_held=GPUS))
    assert booked == {"job:slurm.1": (2 * ACTIVE, 2 * FLOOR)}


def test_a_gpu_that_nobody_is_known_to_use_is_unattributed_and_idle() -> None:
    """Active energy without a user is told as such, never given to somebody."""
    booked = _booked(Load("slurm.1", cpu_us=1_000_000))
    assert booked == {"unattributed": (2 * ACTIVE, 0), "idle": (0, 2 * FLOOR)}


def _part(name: str, slices: int, **of: object) -> Load:
    """Return a job that holds slices of the 10 of gpu.0."""
    return Load(name, gpus_held=("gpu.0",), gpu_shares_ppm=(slices * 100_000,), **of)  # type: ignore[arg-type]


def test_a_divided_gpus_floor_goes_by_slices_and_what_nobody_holds_is_idle() -> None:
    """Each holder pays for its slices of the idle floor, whether it works or not; free slices are idle."""
    booked = _booked(_part("a", 5), _part("b", 3))
    assert booked["job:a"] == (ACTIVE * 5 / 8, FLOOR * 5 / 10)
    assert booked["job:b"] == (ACTIVE * 3 / 8, FLOOR * 3 / 10)
    assert booked["idle"] == (0, FLOOR * 2 / 10 + FLOOR)


def test_a_divided_gpus_work_goes_by_slices_where_the_driver_tells_no_shares() -> None:
    """Of the holders those with processes there worked, each as much as its slices can."""
    booked = _booked(_part("a", 6, gpu_ppm={"gpu.0": 0}), _part("b", 2, gpu_ppm={"gpu.0": 0}), _part("c", 2))
    assert booked["job:a"] == (ACTIVE * 3 / 4, FLOOR * 6 / 10)
    assert booked["job:b"] == (ACTIVE / 4, FLOOR * 2 / 10)
    assert booked["job:c"] == (0, FLOOR * 2 / 10)


@pytest.mark.parametrize(
    ("loads", "active", "idle"),
    [
        pytest.param(
            [Load("a", gpu_ppm={"gpu.0": 0}), Load("b", gpu_ppm={"gpu.0": 0})],
            {"job:a": 150, "job:b": 150},
            {"job:a": 50, "job:b": 50},
            id="no utilisation told: in equal parts to who has processes there, who thereby hold it",
        ),
        pytest.param(
            [Load("a", gpus_held=("gpu.0",)), Load("x", SYSTEM, gpu_ppm={"gpu.0": 0})],
            {"job:a": 300},
            {"job:a": 100},
            id="a daemon that rests on a held GPU takes nothing of it",
        ),
        pytest.param(
            [Load("a", gpus_held=("gpu.0",)), Load("x", SYSTEM, gpu_ppm={"gpu.0": 500_000})],
            {"system": 300},
            {"job:a": 100},
            id="who works on a GPU that another holds pays for the work",
        ),
        pytest.param(
            [Load("a", gpus_held=("gpu.0",), gpu_ppm={"gpu.0": 0}), Load("b", gpus_held=("gpu.0",))],
            {"job:a": 300},
            {"job:a": 50, "job:b": 50},
            id="of two holders the one with processes worked",
        ),
    ],
)
def test_who_pays_for_a_gpu(loads: list[Load], active: dict[str, float], idle: dict[str, float]) -> None:
    """What is known best decides: utilisation, then holding and presence together, then either."""
    booked = _booked(*loads)
    # gpu.1 is nobody's in all of these.
    booked.setdefault("unattributed", (0, 0))
    assert booked.pop("unattributed") == (ACTIVE, 0)
    assert booked.pop("idle") == (0, FLOOR)
    assert {account: got[0] for account, got in booked.items() if got[0]} == active
    assert {account: got[1] for account, got in booked.items() if got[1]} == idle


@pytest.mark.parametrize(
    ("policy", "idle"),
    [
        (Policy.RESERVED, {"job:a": 2 * FLOOR}),
        (Policy.ACTIVE, {"job:b": FLOOR, "idle": FLOOR}),
        (Policy.NONE, {"idle": 2 * FLOOR}),
    ],
)
def test_policies_share_the_floor_of_gpus(policy: Policy, idle: dict[str, float]) -> None:
    """The idle floor goes to the holder, to the user, or to nobody."""
    booked = _booked(
        Load("a", gpus_held=GPUS), Load("b", gpu_ppm={"gpu.0": 300_000}), Load("c"), policy=policy
    )
    assert {account: got[1] for account, got in booked.items() if got[1]} == idle


def test_sole_users_of_several_gpus_have_no_error_of_splitting() -> None:
    """Jobs with a GPU each do not share, so their ± is the meters' alone."""
    node = SimulatedNode(domains=[(name, COUNTER) for name in GPUS])
    node.begin([Load(f"slurm.{n}", gpus_held=(gpu,)) for n, gpu in enumerate(GPUS)])
    node.tick()
    books = book([d.readings for d in decoded(node, [node.report()])])
    assert books.account == ["job:slurm.0", "job:slurm.1"]
    energy_uj = books.active_uj[:, CLASSES.index("gpu")] + books.idle_uj[:, CLASSES.index("gpu")]
    assert books.systematic_uj.tolist() == (energy_uj * 0.03).tolist()
