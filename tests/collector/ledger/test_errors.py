"""What agents tell of a gauge's error is in the ± of whoever its energy went to, whole and once."""

from joulebook.collector.ledger.book import Books, book
from joulebook.collector.ledger.domains import CLASSES
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode

AVERAGE = report_pb2.SOURCE_KIND_AVERAGE_POWER
COUNTER = report_pb2.SOURCE_KIND_COUNTER
# What the agent tells of the node's gauge in each of four ticks, in µJ.
ERRORS_UJ = (3_000_000, 1_000_000, 0, 500_000)


def _books(*, errors_uj: tuple[int, ...] = (), domain: str = "node") -> Books:
    """Book a Report of a node with a gauge of its own around its parts, and a job and a daemon on it."""
    node = SimulatedNode(domains=[("node", AVERAGE), ("cpu.0", COUNTER), ("memory.0", COUNTER)])
    node.begin([Load("slurm.1", cpu_us=3_000_000), Load("slurm.2", cpu_us=1_000_000)])
    for _ in ERRORS_UJ:
        node.tick()
    report = node.report()
    if errors_uj:
        layout = report_pb2.Layout.FromString(node.layouts[report.layout_hash])
        layout.series_metric.append(m.METRIC_DOMAIN_SAMPLING)
        layout.series_domain.append([d.name for d in layout.domains].index(domain) + 1)
        layout.series_device.append(0)
        layout.series_workload.append(0)
        serialized = layout.SerializeToString()
        report.layout_hash = layout_hash(serialized)
        node.layouts[report.layout_hash] = serialized
        report.values.extend([17, *errors_uj])
    return book([one.readings for one in decoded(node, [report])])


def test_the_error_goes_with_the_energy_and_adds_up() -> None:
    """The node's gauge measured what is beyond the parts: its users' ± grow by its error, in their shares."""
    without, told = _books(), _books(errors_uj=ERRORS_UJ)
    assert told.active_uj.tolist() == without.active_uj.tolist()
    assert told.residual_uj.tolist() == [0]
    grown = told.systematic_uj - without.systematic_uj
    assert abs(int(grown.sum()) - sum(ERRORS_UJ)) <= len(grown)
    assert told.variance_uj2.tolist() == without.variance_uj2.tolist()
    platform_uj = (told.active_uj + told.idle_uj)[:, CLASSES.index("platform")]
    share = platform_uj / platform_uj.sum()
    assert [abs(g - s * sum(ERRORS_UJ)) <= 1 for g, s in zip(grown, share, strict=True)] == [True] * len(
        grown
    )


def test_the_error_of_a_part_is_its_users_alone() -> None:
    """Of memory's gauge the error is in the memory's shares; accounts without any have none of it."""
    without, told = _books(), _books(errors_uj=ERRORS_UJ, domain="memory.0")
    grown = dict(zip(told.account, (told.systematic_uj - without.systematic_uj).tolist(), strict=True))
    memory_uj = dict(
        zip(told.account, (told.active_uj + told.idle_uj)[:, CLASSES.index("memory")].tolist(), strict=True)
    )
    assert {account for account, uj in grown.items() if uj} == {a for a, uj in memory_uj.items() if uj}
    assert abs(sum(grown.values()) - sum(ERRORS_UJ)) <= len(grown)
