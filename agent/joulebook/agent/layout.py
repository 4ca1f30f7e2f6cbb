"""The Layout message: what the agent's columns are about."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import count
from operator import attrgetter

from joulebook.agent.source import Device, Domain, Series
from joulebook.agent.workloads.workload import Workload
from joulebook.v1 import report_pb2

_VERSION = version("joulebook")
_MOST_FACT = 255


_id = attrgetter("id")
_metric, _domain, _device, _workload = map(attrgetter, ("metric", "domain", "device", "workload"))


class Layouts:
    """Layouts of one session of an agent, one after the other.

    Of a thousand workloads some may come and go every second: those that stay are not made anew.
    """

    def __init__(self, node: str, session_us: int, host: report_pb2.Host) -> None:
        self._head = report_pb2.Layout(node=node, session_us=session_us, agent_version=_VERSION, host=host)
        # Of each workload of the last layout, by its id: itself, its parent's place, and both serialised.
        self._parts: dict[str, tuple[Workload, int, bytes]] = {}
        self._domain_names: tuple[str, ...] = ()

    def build(
        self,
        domains: Sequence[tuple[Domain, int]],
        devices: Sequence[Device],
        workloads: Sequence[Workload],
        series: Sequence[Series],
    ) -> bytes:
        """Return a serialised Layout. domains come with their counters' offsets in µJ."""
        head = report_pb2.Layout()
        head.CopyFrom(self._head)
        for domain, offset_uj in domains:
            head.domains.add(
                name=domain.name,
                source=domain.source,
                kind=domain.kind,
                resolution_uj=domain.resolution_uj,
                period_us=domain.period_us,
                accuracy_ppm=domain.accuracy_ppm,
                range_uj=domain.range_uj,
                limit_mw=domain.limit_mw,
                offset_uj=offset_uj,
            )
        for device in devices:
            head.devices.add(
                name=device.name,
                kind=device.kind,
                tier=device.tier,
                size_bytes=device.size_bytes,
                power_limit_mw=device.power_limit_mw,
                uuid=_fact(device.uuid),
                model=_fact(device.model),
                part_of=device.part_of,
            )
        workload_place = dict(zip(map(_id, workloads), count(1)))
        domain_place = {domain.name: i for i, (domain, _) in enumerate(domains, start=1)}
        parts = self._workloads(workloads, workload_place, domain_place)
        device_place = {device.name: i for i, device in enumerate(devices, start=1)}
        domain_place[""] = device_place[""] = workload_place[""] = 0
        tail = report_pb2.Layout()
        tail.series_metric.extend(map(_metric, series))
        tail.series_domain.extend(map(domain_place.__getitem__, map(_domain, series)))
        tail.series_device.extend(map(device_place.__getitem__, map(_device, series)))
        tail.series_workload.extend(map(workload_place.__getitem__, map(_workload, series)))
        # One message after the other is, in Protocol Buffers, both as one.
        return b"".join((head.SerializeToString(), *parts, tail.SerializeToString()))

    def _workloads(
        self, workloads: Sequence[Workload], places: Mapping[str, int], domains: Mapping[str, int]
    ) -> list[bytes]:
        """Return each workload as a serialised Layout of nothing else."""
        names = tuple(domains)
        known = self._parts if names == self._domain_names else {}
        self._domain_names, self._parts = names, {}
        parts = []
        for workload in workloads:
            parent = places.get(workload.parent, 0)
            part = known.get(workload.id)
            if part is None or part[1] != parent or not (part[0] is workload or part[0] == workload):
                layout = report_pb2.Layout(workloads=[_message(workload, parent, domains)])
                part = (workload, parent, layout.SerializeToString())
            self._parts[workload.id] = part
            parts.append(part[2])
        return parts


def _message(workload: Workload, parent: int, domains: Mapping[str, int]) -> report_pb2.Workload:
    """Return a workload's message; domains are the layout's with their places."""
    return report_pb2.Workload(
        id=workload.id,
        kind=workload.kind,
        source=workload.source,
        name=workload.name,
        user=workload.user,
        parent=parent,
        job=workload.job,
        reserved_millicpus=workload.reserved_millicpus,
        reserved_memory_bytes=workload.reserved_memory_bytes,
        start_unix_us=workload.start_unix_us,
        gpu=[domains[gpu] for gpu in workload.gpus if gpu in domains],
        gpu_share_ppm=[
            ppm for gpu, ppm in zip(workload.gpus, workload.gpu_shares_ppm, strict=False) if gpu in domains
        ],
        cpu_domain=[
            domains[domain]
            for domain in (f"cpu.{package}" for package in workload.packages)
            if domain in domains
        ],
    )


def _fact(text: str) -> str:
    """Return what firmware or a driver calls something, as collectors take it."""
    return "".join(character for character in text if character.isprintable())[:_MOST_FACT]
