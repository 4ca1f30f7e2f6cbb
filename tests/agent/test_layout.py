"""The Layout message from the agent's own words."""

import random

from joulebook.agent.layout import Layouts
from joulebook.agent.source import Device, Domain, Series
from joulebook.agent.workloads.workload import JOB, Workload
from joulebook.v1 import metrics_pb2, report_pb2


def test_what_firmware_calls_a_device_passes_as_collectors_take_it() -> None:
    """Facts reach the collector whole; of a garbled name comes what can be printed."""
    devices = [
        Device(
            "gpu.0.mig.1.0",
            report_pb2.DEVICE_KIND_GPU_INSTANCE,
            size_bytes=7,
            uuid="MIG-a",
            model="1g.10gb",
            part_of="gpu.0",
        ),
        Device("gpu.1", report_pb2.DEVICE_KIND_GPU, model="A\x00B\n" + "x" * 300),
    ]
    layout = report_pb2.Layout.FromString(
        Layouts("n1", 0, report_pb2.Host()).build([], devices, [], [], [], [])
    )
    one, other = layout.devices
    assert (one.uuid, one.model, one.part_of, one.size_bytes) == ("MIG-a", "1g.10gb", "gpu.0", 7)
    assert other.model == "AB" + "x" * 253


def test_series_are_what_the_columns_are_about() -> None:
    """Layout after layout, whatever comes and goes: each series names its subjects."""
    chance = random.Random(1)
    kind = report_pb2.SOURCE_KIND_COUNTER
    domains = [(Domain(f"gpu.{number}", "nvml", kind, 1, 1, 1), 0) for number in range(3)]
    devices = [Device("sda", report_pb2.DEVICE_KIND_DISK)]
    node = [
        Series(metrics_pb2.METRIC_NODE_MEMORY_USED),
        Series(metrics_pb2.METRIC_DOMAIN_ENERGY, domain="gpu.1"),
        Series(metrics_pb2.METRIC_DEVICE_READ_WAIT, device="sda"),
    ]
    layouts = Layouts("n1", 0, report_pb2.Host())
    there: dict[Workload, tuple[Series, ...]] = {}
    for step in range(8):
        for number in range(step * 100, step * 100 + chance.choice([1, 150])):
            parent = chance.choice([each.id for each in there] or [""])
            name = f"w{number}"
            metrics = metrics_pb2.METRIC_WORKLOAD_CPU, metrics_pb2.METRIC_WORKLOAD_IO
            there[Workload(name, JOB, "s", parent=parent, gpus=("gpu.2",))] = tuple(
                Series(metric, workload=name) for metric in metrics[: chance.choice([1, 2])]
            )
        for workload in chance.sample(list(there), len(there) // 3):
            del there[workload]
        workloads = list(there)
        chance.shuffle(workloads)
        blocks = [there[each] for each in workloads]
        shares = [
            Series(metrics_pb2.METRIC_WORKLOAD_GPU_UTILISATION, domain="gpu.2", workload=each.id)
            for each in workloads[:2]
        ]
        layout = report_pb2.Layout.FromString(
            layouts.build(domains, devices, workloads, node, blocks, shares)
        )
        assert [each.id for each in layout.workloads] == [each.id for each in workloads]
        names = [""] + [each.id for each in workloads]
        assert [names[each.parent] for each in layout.workloads] == [
            each.parent if each.parent in names else "" for each in workloads
        ]
        wanted = [*node, *(series for block in blocks for series in block), *shares]
        places = {"gpu.0": 1, "gpu.1": 2, "gpu.2": 3, "sda": 1, "": 0}
        assert list(layout.series_metric) == [each.metric for each in wanted]
        assert list(layout.series_domain) == [places[each.domain] for each in wanted]
        assert list(layout.series_device) == [places[each.device] for each in wanted]
        assert [names[place] for place in layout.series_workload] == [each.workload for each in wanted]
