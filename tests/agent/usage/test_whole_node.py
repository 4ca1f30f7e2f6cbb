"""Everything that a node uses, from its files to the collector's check and to what people read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulebook.agent.host import read_host
from joulebook.agent.reading import reading
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Roots
from joulebook.agent.sources import Sources, probe_sources
from joulebook.agent.workloads.workloads import Workloads
from joulebook.collector.ingest.decode import decode_layout
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue
from tests.fixtures.trees import build

S = 1_000_000


@contextmanager
def _sampling(roots: Roots) -> Iterator[tuple[Sampler, Sources, list[tuple[report_pb2.Report, bytes]]]]:
    clock = iter(range(1000 * S, 10_000 * S, S))
    sources = probe_sources(roots, patience_s=60)
    workloads = Workloads(roots, disks=sources.disks)
    reports: list[tuple[report_pb2.Report, bytes]] = []
    sampler = Sampler(
        "n1",
        bytes(16),
        read_host(roots),
        sources.probed,
        sources.meters,
        workloads,
        lambda report, layout: reports.append((report, layout)),
        clock=lambda: next(clock),
    )
    try:
        yield sampler, sources, reports
    finally:
        workloads.close()
        sources.close()


@pytest.mark.parametrize(
    ("tree", "devices"),
    [
        (
            "xeon-2s",
            {
                "packages": ["cpu.0", "cpu.1"],
                "numa": ["numa.0", "numa.1"],
                "disks": ["nvme0n1", "sda", "sdb"],
                "network": ["eno1", "ib0"],
            },
        ),
        (
            "storage",
            {
                "rdma": ["hfi1_0/1", "mlx5_0/1", "mlx5_bond_0/1"],
                "network_storage": [
                    "nfs:filer:/export/data",
                    "nfs:filer:/export/home",
                    "lustre:scratch-ffff9bc043537800",
                    "cephfs:3ce6611a-4623-46fe-8196-800591f96003.client4242",
                    "cephfs:3ce6611a-4623-46fe-8196-800591f96003.client77",
                ],
                "storage_daemons": [
                    "lustre.scratch-OST0004",
                    "lustre.scratch-OST0005",
                    "lustre.scratch-MDT0000",
                ],
            },
        ),
    ],
)
def test_what_is_found_is_taken_and_shown(tree: str, devices: dict[str, list[str]], tmp_path: Path) -> None:
    """Each device is in the Layout once, the collector takes it, and every figure is shown under its kind."""
    built = build(tree, tmp_path)
    roots = Roots(built.procfs, built.sysfs, tmp_path / "cgroup", tmp_path / "dev")
    with _sampling(roots) as (sampler, sources, reports):
        sampler.start()
        sampler.tick()
        sampler.cut()
        report, serialized = reports[-1]
        layout = report_pb2.Layout.FromString(serialized)
        assert decode_layout(serialized).node == "n1"
        shown = reading(report, layout, sampler, sources)
    entries = catalogue()
    of_device: dict[str, set[str]] = {}
    for metric, device in zip(layout.series_metric, layout.series_device, strict=True):
        if device:
            of_device.setdefault(layout.devices[device - 1].name, set()).add(entries[metric].name)
    for title, names in devices.items():
        assert [one["device"] for one in shown[title]] == names
        for one in shown[title]:
            assert of_device[one["device"]] <= set(one), title
    states = {one["name"]: one["state"] for one in shown["sources"]}
    assert not {name for name, state in states.items() if state == "suspect"}


def test_every_metric_of_a_device_is_in_the_reference() -> None:
    """What sources give is in docs/metrics.md, under a Prometheus name of its own."""
    text = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
    names = re.findall(r"^\| `(\w+)` \|.*\| `(joulebook_\w+)` \|", text, re.MULTILINE)
    assert {name for name, _ in names} == {entry.name for entry in catalogue().values()}
    assert len({prometheus for _, prometheus in names}) == len(names)
