"""The Layout message from the agent's own words."""

from joulebook.agent.layout import Layouts
from joulebook.agent.source import Device
from joulebook.v1 import report_pb2


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
    layout = report_pb2.Layout.FromString(Layouts("n1", 0, report_pb2.Host()).build([], devices, [], []))
    one, other = layout.devices
    assert (one.uuid, one.model, one.part_of, one.size_bytes) == ("MIG-a", "1g.10gb", "gpu.0", 7)
    assert other.model == "AB" + "x" * 253
