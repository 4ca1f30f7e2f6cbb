"""The Layout message: what the agent's columns are about."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version

from joulebook.agent.source import Device, Domain, Series
from joulebook.agent.workloads.workload import Workload
from joulebook.v1 import report_pb2

_VERSION = version("joulebook")
_MOST_FACT = 255


def build_layout(
    node: str,
    session_us: int,
    host: report_pb2.Host,
    domains: Sequence[tuple[Domain, int]],
    devices: Sequence[Device],
    workloads: Sequence[Workload],
    series: Sequence[Series],
) -> bytes:
    """Return the serialised Layout. domains come with their counters' offsets in µJ."""
    message = report_pb2.Layout(node=node, session_us=session_us, agent_version=_VERSION, host=host)
    for domain, offset_uj in domains:
        message.domains.add(
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
        message.devices.add(
            name=device.name,
            kind=device.kind,
            tier=device.tier,
            size_bytes=device.size_bytes,
            power_limit_mw=device.power_limit_mw,
            uuid=_fact(device.uuid),
            model=_fact(device.model),
            part_of=device.part_of,
        )
    workload_place = {workload.id: i for i, workload in enumerate(workloads, start=1)}
    domain_place = {domain.name: i for i, (domain, _) in enumerate(domains, start=1)}
    domain_names = tuple(domain_place)
    message.workloads.extend(
        [_workload(each, workload_place.get(each.parent, 0), domain_names) for each in workloads]
    )
    device_place = {device.name: i for i, device in enumerate(devices, start=1)}
    domain_place[""] = device_place[""] = workload_place[""] = 0
    message.series_metric.extend([one.metric for one in series])
    message.series_domain.extend([domain_place[one.domain] for one in series])
    message.series_device.extend([device_place[one.device] for one in series])
    message.series_workload.extend([workload_place[one.workload] for one in series])
    return message.SerializeToString()


# A thousand workloads of which some come and go make a layout a second: those that stay are not made anew.
@lru_cache(4096)
def _workload(workload: Workload, parent: int, domains: tuple[str, ...]) -> report_pb2.Workload:
    """Return a workload's message, which nobody changes; domains are the layout's in their order."""
    place = {name: i for i, name in enumerate(domains, start=1)}
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
        gpu=[place[gpu] for gpu in workload.gpus if gpu in place],
        gpu_share_ppm=[
            ppm for gpu, ppm in zip(workload.gpus, workload.gpu_shares_ppm, strict=False) if gpu in place
        ],
        cpu_domain=[
            place[domain] for domain in (f"cpu.{package}" for package in workload.packages) if domain in place
        ],
    )


def _fact(text: str) -> str:
    """Return what firmware or a driver calls something, as collectors take it."""
    return "".join(character for character in text if character.isprintable())[:_MOST_FACT]
