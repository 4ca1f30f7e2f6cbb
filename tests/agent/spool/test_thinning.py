"""What is thinned is booked as what was whole, to the microjoule."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.outbox import Entry
from joulebook.agent.spool.thinning import join, thin
from joulebook.collector.ingest.decode import decode_layout
from joulebook.collector.ledger.book import Books, book
from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from tests.simulated.delivery import decoded
from tests.simulated.node import Load, SimulatedNode
from tests.simulated.powers import tell_powers

COUNTER = report_pb2.SOURCE_KIND_COUNTER
NAMES = ("cpu.0", "cpu.1", "memory.0", "gpu.0", "disk.nvme0n1", "disk.sda")
LEAVES = [(name, COUNTER) for name in NAMES]
CONTAINERS = ["core.0", "psys", "module.0", "node"]


def _books(node: SimulatedNode, *entries: Entry) -> Books:
    for entry in entries:
        node.layouts[decode_layout(entry.layout).hash] = entry.layout
    return book([d.readings for d in decoded(node, [e.report for e in entries])])


def _by_account(books: Books) -> dict[str, int]:
    found: dict[str, int] = {}
    for account, active, idle in zip(books.account, books.active_uj, books.idle_uj, strict=True):
        found[account] = found.get(account, 0) + int(active.sum() + idle.sum())
    return found


def _by_class(books: Books) -> list[int]:
    totals: list[int] = (books.active_uj + books.idle_uj).sum(axis=0).tolist()
    return totals


@st.composite
def nodes(draw: st.DrawFn) -> tuple[SimulatedNode, list[Entry]]:
    """Return a node with any domains, and adjacent Reports in which containers lag behind their parts."""
    more = [(name, COUNTER) for name in draw(st.lists(st.sampled_from(CONTAINERS), unique=True))]
    node = SimulatedNode(domains=[*LEAVES, *more], gpu_idle_mw=300)
    node.begin(
        [
            Load("slurm.1", cpu_us=draw(st.integers(0, 3_000_000)), memory_bytes=1 << 30, io_bytes=4096),
            Load("slurm.3", disk_bytes={"disk.sda": draw(st.integers(0, 1 << 30)), "disk.nvme0n1": 4096}),
            Load("slurm.2", cpu_us=1_000_000, gpu_ppm={"gpu.0": 400_000}, gpus_held=("gpu.0",)),
        ]
    )
    entries = []
    for _ in range(draw(st.integers(1, 3))):
        for length_us in draw(st.lists(st.integers(1000, 2_000_000), min_size=1, max_size=6)):
            node.tick(length_us)
        report = node.report()
        layout = report_pb2.Layout.FromString(node.layouts[report.layout_hash])
        width = len(report.interval_us) + 1
        for row, metric in enumerate(layout.series_metric):
            if metric in (m.METRIC_DOMAIN_ENERGY, m.METRIC_DOMAIN_UNREAD):
                for at in range(row * width + 1, (row + 1) * width):
                    report.values[at] = draw(st.integers(0, 5_000_000))
            if metric == m.METRIC_DOMAIN_IDLE_POWER:
                for at in range(row * width + 1, (row + 1) * width):
                    report.values[at] = draw(st.integers(0, 3_000))
        powers = {f"slurm.{i}": (1000 * i, 50_000) for i in (1, 2, 3)}
        tell_powers(node.layouts, report, 500, powers)
        entries.append(Entry(report, node.layouts[report.layout_hash]))
    return node, _meeting(entries)


def _meeting(entries: list[Entry]) -> list[Entry]:
    """Have each Report begin at the readings at which the one before it ended."""
    for before, after in pairwise(entries):
        one, two = len(before.report.interval_us) + 1, len(after.report.interval_us) + 1
        for row in range(len(before.report.values) // one):
            end = sum(before.report.values[row * one : (row + 1) * one])
            after.report.values[row * two] = end
    return entries


@settings(max_examples=150, deadline=None)
@given(nodes())
def test_thinned_reports_hold_the_same_energy(given_node: tuple[SimulatedNode, list[Entry]]) -> None:
    """Name, span, energy measured, energy of every class and unread time are the whole Report's."""
    node, entries = given_node
    whole = _books(node, *entries)
    thinned = [Entry(*thin(e.report, e.layout)) for e in entries]
    books = _books(node, *thinned)
    assert [e.key for e in thinned] == [e.key for e in entries]
    assert [sum(e.report.interval_us) for e in thinned] == [sum(e.report.interval_us) for e in entries]
    for name in ("measured_uj", "raised_uj", "residual_uj"):
        assert getattr(books, name).tolist() == getattr(whole, name).tolist()
    assert books.unread_us.tolist() == whole.unread_us.tolist()
    assert _by_class(books) == _by_class(whole)
    # Thinned once is thinned.
    assert [Entry(*thin(e.report, e.layout)) for e in thinned] == thinned


@settings(max_examples=150, deadline=None)
@given(nodes())
def test_joint_reports_hold_the_same_energy(given_node: tuple[SimulatedNode, list[Entry]]) -> None:
    """Adjacent thinned Reports become one with both spans, and with the energy of both by class."""
    node, entries = given_node
    whole = _books(node, *entries)
    first, *others = (Entry(*thin(e.report, e.layout)) for e in entries)
    for other in others:
        joint = join(first.report, other.report, first.layout)
        assert joint is not None
        first = Entry(joint, first.layout)
    books = _books(node, first)
    assert first.key == entries[0].key
    assert sum(first.report.interval_us) == sum(sum(e.report.interval_us) for e in entries)
    assert int(books.measured_uj.sum()) == int(whole.measured_uj.sum())
    assert int(abs(books.residual_uj).sum()) == 0
    assert _by_class(books) == _by_class(whole)


def test_attribution_of_steady_loads_is_the_same() -> None:
    """While loads are steady, every account receives of a thinned Report what it received of the whole."""
    node = SimulatedNode(domains=LEAVES, gpu_idle_mw=300)
    node.begin(
        [
            Load("slurm.1", cpu_us=3_000_000, memory_bytes=1 << 30, disk_bytes={"disk.sda": 1 << 24}),
            Load("slurm.2", cpu_us=1_000_000, gpu_ppm={"gpu.0": 400_000}, gpus_held=("gpu.0",)),
            Load("slurm.3", io_bytes=4096, disk_bytes={"disk.nvme0n1": 1 << 24}),
        ]
    )
    for _ in range(10):
        node.tick()
    report = node.report()
    entry = Entry(report, node.layouts[report.layout_hash])
    whole = _by_account(_books(node, entry))
    thinned = Entry(*thin(entry.report, entry.layout))
    assert len(thinned.report.interval_us) == 1
    books = _by_account(_books(node, thinned))
    assert set(books) == set(whole)
    # Each tick of the whole Report is rounded by itself: a microjoule a tick and pool at most.
    assert all(abs(books[account] - whole[account]) <= 50 for account in whole)


def test_what_does_not_meet_is_not_joined() -> None:
    """Reports with a gap, another layout, a counter that jumped or a clock that was set stay two."""
    node = SimulatedNode()
    node.begin([Load("slurm.1", cpu_us=1)])
    made = []
    for _ in range(3):
        node.tick()
        report = node.report()
        made.append(thin(report, node.layouts[report.layout_hash]))
    (first, layout), (second, _), (third, _) = made
    assert join(first, second, layout) is not None
    assert join(first, third, layout) is None
    jumped = report_pb2.Report()
    jumped.CopyFrom(second)
    jumped.values[0] += 1
    assert join(first, jumped, layout) is None
    clock = report_pb2.Report()
    clock.CopyFrom(second)
    clock.realtime_offset_us += 2_000_000
    assert join(first, clock, layout) is None
    numbered = report_pb2.Report()
    numbered.CopyFrom(second)
    numbered.wall_clock = 1
    assert join(first, numbered, layout) is None
    other = report_pb2.Report()
    other.CopyFrom(second)
    other.layout_hash += 1
    assert join(first, other, layout) is None
