"""What passed while nobody watched is told by the counters alone."""

from dataclasses import dataclass

import numpy as np
import pytest

from joulebook.collector.ingest.decode import decode_layout
from joulebook.collector.ledger.gaps import Edge, gap_between
from joulebook.v1 import metrics_pb2, report_pb2

RANGE_UJ = 1000_000_000


@dataclass(frozen=True)
class Side:
    """One end: the agent's session, the time, the reading and its offset from the hardware's."""

    session_us: int
    at_us: int
    energy_uj: int
    offset_uj: int = 0
    source: str = "rapl"
    kind: report_pb2.SourceKind.ValueType = report_pb2.SOURCE_KIND_COUNTER

    def edge(self) -> Edge:
        """Return the end as the ledger sees it."""
        layout = report_pb2.Layout(node="n", session_us=self.session_us)
        layout.host.logical_cpus = 1
        layout.domains.add(
            name="cpu.0",
            source=self.source,
            kind=self.kind,
            range_uj=RANGE_UJ,
            limit_mw=100_000,
            offset_uj=self.offset_uj,
        )
        layout.series_metric.append(metrics_pb2.METRIC_DOMAIN_ENERGY)
        layout.series_domain.append(1)
        layout.series_device.append(0)
        layout.series_workload.append(0)
        return Edge(
            decode_layout(layout.SerializeToString()), self.at_us, np.array([self.energy_uj], dtype=np.int64)
        )


S = 1_000_000


@pytest.mark.parametrize(
    ("last", "following", "energy_uj", "missing_ppm"),
    [
        pytest.param(Side(1, S, 5_000), Side(1, 3 * S, 9_000), 4_000, 0, id="a report is missing"),
        pytest.param(Side(1, S, 5_000), Side(2, 3 * S, 9_000), 4_000, 0, id="the agent was down"),
        pytest.param(
            Side(1, S, RANGE_UJ - 10), Side(2, 3 * S, 30), 40, 0, id="the counter wrapped while it was down"
        ),
        pytest.param(
            Side(1, S, 7 * RANGE_UJ + 5_000, 7 * RANGE_UJ), Side(2, 3 * S, 9_000), 4_000, 0, id="unwrapped"
        ),
        pytest.param(
            Side(1, S, 905_000, 900_000), Side(2, 3 * S, 9_000), 4_000, 0, id="after a dropped jump"
        ),
        pytest.param(
            Side(1, S, 5_000),
            Side(2, 20 * S, 9_000),
            0,
            1_000_000,
            id="too long to know how often it wrapped",
        ),
        pytest.param(
            Side(1, S, 9_000), Side(2, 2 * S, 5_000), 0, 1_000_000, id="a reset: more than can be drawn"
        ),
        pytest.param(
            Side(1, S, 5_000, kind=report_pb2.SOURCE_KIND_MODEL),
            Side(2, 3 * S, 9_000, kind=report_pb2.SOURCE_KIND_MODEL),
            0,
            1_000_000,
            id="an agent's own sum starts again with it",
        ),
        pytest.param(
            Side(1, S, 5_000, source="hwmon"), Side(2, 3 * S, 9_000), 0, 1_000_000, id="another meter"
        ),
    ],
)
def test_a_gap_holds_what_the_counters_say(
    last: Side, following: Side, energy_uj: int, missing_ppm: int
) -> None:
    """A gap's energy is the difference of the hardware's readings, or unknown, and never a guess."""
    gap = gap_between(last.edge(), following.edge())
    assert gap is not None
    assert gap.by_class_uj.tolist() == [energy_uj, 0, 0, 0, 0, 0]
    assert gap.missing_ppm == missing_ppm


def test_reports_that_meet_have_no_gap() -> None:
    """Nothing lies between a Report and the one that begins where it ends."""
    assert gap_between(Side(1, S, 5_000).edge(), Side(1, S, 5_000).edge()) is None
