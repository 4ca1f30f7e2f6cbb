"""Lines hold what they were made of, and other servers take them too."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.facts.mark import numbers, run_lengths
from joulebook.collector.store.influxdb_address import InfluxAddress
from joulebook.collector.store.influxdb_http import InfluxServer
from joulebook.collector.store.influxdb_lines import (
    MOST_LINES,
    SampleLines,
    line,
    packed,
    requests,
    tag,
    text,
    unpacked,
    untag,
)
from tests.servers.victoriametrics import victoria_metrics
from tests.simulated.delivery import decoded
from tests.simulated.node import WALL_US, Load, SimulatedNode


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("cpu.0", "cpu.0"),
        ("a b,c=d", r"a\ b\,c\=d"),
        ("dev\\x2d", "dev⧵x2d"),
        ("", "-"),
        ("two\nlines", "two⧵nlines"),
    ],
)
def test_tags_are_escaped(value: str, written: str) -> None:
    """What separates tags is escaped; a backslash, which cannot end a tag, is replaced."""
    assert tag(value) == written


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_names_come_back(value: str) -> None:
    """Every name that the wire can hold is what its tag stands for."""
    written = tag(value)
    assert untag(written.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " ")) == value


@given(st.lists(st.integers(-(1 << 62), 1 << 62)))
def test_run_lengths_come_back(values: list[int]) -> None:
    """Numbers that were written in runs are read as they were."""
    assert numbers(run_lengths(values)).tolist() == values


def test_large_layouts_come_back() -> None:
    """Bytes beyond what a field holds are in several."""
    serialized = Random(1).randbytes(100_000)
    fields = packed(serialized)
    assert int(fields["parts"]) > 1
    assert unpacked(fields) == serialized


def test_text_beyond_a_field_is_refused() -> None:
    """A text that the server would refuse is refused before."""
    with pytest.raises(ValueError, match="a text of 70000 bytes: InfluxDB takes"):
        text("x" * 70_000)


def test_points_have_sorted_tags_and_typed_fields() -> None:
    """Tags are in order, those without a value left out; integers are typed, texts quoted."""
    made = line("m", {"z": "1", "a": "2", "clock": ""}, {"i": -3, "s": 'say "a\\b"'}, 5)
    assert made == b'm,a=2,z=1 i=-3i,s="say \\"a\\\\b\\"" 5\n'


def _node() -> SimulatedNode:
    node = SimulatedNode()
    node.begin([Load("50%.x", cpu_us=1_000_000, memory_bytes=5)])
    return node


def test_a_report_is_a_line_a_subject_and_interval() -> None:
    """Counters are what was counted in the interval, gauges the level, at the interval's end."""
    node = _node()
    node.tick()
    node.tick()
    (report,) = decoded(node, [node.report()])
    lines = b"".join(SampleLines(report.readings.layout).of(report)).decode().splitlines()
    first = f" {WALL_US + 1_000_000}"
    assert [one.removesuffix(first) for one in lines if one.endswith(first)] == [
        "node,node=n1 interval_us=1000000i,cpu_busy_us=1000000i,memory_used_bytes=5i",
        "domain,domain=cpu.0,node=n1 energy_uj=50000000i,unread_us=0i,idle_power_mw=40000i",
        "domain,domain=memory.0,node=n1 energy_uj=6000000i,unread_us=0i,idle_power_mw=6000i",
        "device,device=nvme0n1,node=n1 read_bytes=0i,written_bytes=0i",
        "workload,node=n1,workload=50%.x cpu_us=1000000i,memory_bytes=5i,io_bytes=0i",
    ]
    assert len(lines) == 10
    clocked = next(SampleLines(report.readings.layout, "1").of(report))
    assert clocked.startswith(b"node,clock=1,node=n1 ")


def test_requests_hold_no_more_than_a_server_takes_best() -> None:
    """However much is waiting, no request has more than 10,000 lines, and none is nearly empty."""
    node = _node()
    for _ in range(3600):
        node.tick()
    (report,) = decoded(node, [node.report()])
    pieces = list(SampleLines(report.readings.layout).of(report))
    counts = [body.count(b"\n") for body in requests(iter(pieces * 3))]
    assert sum(counts) == 3 * 5 * 3600
    assert max(counts) <= MOST_LINES
    assert all(a + b > MOST_LINES for a, b in pairwise(counts))


def test_victoria_metrics_takes_the_same_lines(tmp_path: Path) -> None:
    """The client writes the same lines into VictoriaMetrics, which adds the energy up to the same."""
    node = _node()
    for _ in range(10):
        node.tick()
    (report,) = decoded(node, [node.report()])
    with victoria_metrics(tmp_path / "data") as victoria:
        server = InfluxServer(InfluxAddress.parse(f"influxdb://127.0.0.1:{victoria.port}/joulebook"))
        for body in requests(SampleLines(report.readings.layout).of(report)):
            server.write(body)
        server.close()
        victoria.flush()
        with urlopen(f"http://127.0.0.1:{victoria.port}/api/v1/export?match[]=domain_energy_uj") as answer:
            series = [json.loads(one) for one in answer.read().splitlines()]
    assert {one["metric"]["domain"]: sum(one["values"]) for one in series} == {
        "cpu.0": 500_000_000,
        "memory.0": 60_000_000,
    }
