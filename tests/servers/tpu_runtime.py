"""The TPU runtime's metrics service on the stubs that Google publishes, and a machine with such chips."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc

from tests.fixtures.trees import write

# The stubs have no types of their own.
tpu_info_pb2: Any = import_module("tpu_info.proto.tpu_metric_service_pb2")
_grpc: Any = import_module("tpu_info.proto.tpu_metric_service_pb2_grpc")

GIB = 1 << 30
# PCI identities: device, subsystem.
V4, V5E = ("0x005e", "0x0000"), ("0x0063", "0x0000")


class Runtime(_grpc.RuntimeMetricServiceServicer):  # type: ignore[misc]
    """The runtime's service: gauges by metric and device; what is not there is not found."""

    def __init__(self) -> None:
        self.gauges: dict[str, dict[int, float]] = {
            "tpu.runtime.tensorcore.dutycycle.percent": {0: 25.0, 1: 0.0},
            "tpu.runtime.hbm.memory.usage.bytes": {0: 3 * GIB, 1: 0},
        }
        # Who asked: each connection is another.
        self.peers: set[str] = set()

    def GetRuntimeMetric(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer as libtpu does: shares as doubles, bytes as integers."""
        self.peers.add(context.peer())
        if request.metric_name not in self.gauges:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such metric")
        made = tpu_info_pb2.MetricResponse()
        made.metric.name = request.metric_name
        for device, value in self.gauges[request.metric_name].items():
            one = made.metric.metrics.add()
            one.attribute.key = "device-id"
            one.attribute.value.int_attr = device
            one.timestamp.GetCurrentTime()
            if isinstance(value, float):
                one.gauge.as_double = value
            else:
                one.gauge.as_int = value
        return made


@contextmanager
def runtime(address: str = "127.0.0.1:0") -> Iterator[tuple[Runtime, str]]:
    """Run the service until the block is left; yield it and where it listens."""
    servicer = Runtime()
    server = grpc.server(ThreadPoolExecutor(2))
    _grpc.add_RuntimeMetricServiceServicer_to_server(servicer, server)
    port = server.add_secure_port(address, grpc.local_server_credentials())
    server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def chips(directory: Path, *kinds: tuple[str, str]) -> None:
    """Make PCI devices: TPU chips, and something else."""
    for number, (device, subsystem) in enumerate((*kinds, ("0x1234", "0x0000"))):
        place = directory / f"sys/bus/pci/devices/0000:00:0{number}.0"
        write(place / "vendor", "0x1ae0" if device != "0x1234" else "0x8086")
        write(place / "device", device)
        write(place / "subsystem_device", subsystem)
