"""The Layout message: what the agent's columns are about."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import count, repeat
from operator import attrgetter, mul

from joulebook.agent.source import Device, Domain, Series
from joulebook.agent.workloads.workload import Workload
from joulebook.v1 import report_pb2

_VERSION = version("joulebook")
_MOST_FACT = 255


_metric, _domain, _device, _workload = map(attrgetter, ("metric", "domain", "device", "workload"))
_name, _parent = attrgetter("id"), attrgetter("parent")

# What a packed field of Layout begins with; see "Encoding" in the documentation of Protocol Buffers.
_LENGTH_DELIMITED = 2
_SERIES_FIELDS = ("series_metric", "series_domain", "series_device", "series_workload")
_TAGS = [
    bytes([report_pb2.Layout.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED])
    for name in _SERIES_FIELDS
]
_NONE = b"\0"


class Layouts:
    """Layouts of one session of an agent, one after the other.

    Of a thousand workloads some may come and go every second: those that stay are not made anew.
    """

    def __init__(self, node: str, session_us: int, host: report_pb2.Host) -> None:
        self._head = report_pb2.Layout(node=node, session_us=session_us, agent_version=_VERSION, host=host)
        # The workloads of the last layout, each with its parent's place serialised, by the object and that.
        self._known: Sequence[Workload] = ()
        self._parts: dict[tuple[int, int], bytes] = {}
        self._domain_names: tuple[str, ...] = ()
        # Their series, and the metrics of each block of them serialised.
        self._blocks: Sequence[tuple[Series, ...]] = ()
        self._metrics: dict[int, bytes] = {}
        # Numbers serialised, from 0.
        self._numbers: list[bytes] = []

    def build(
        self,
        domains: Sequence[tuple[Domain, int]],
        devices: Sequence[Device],
        workloads: Sequence[Workload],
        series: Sequence[Series],
        blocks: Sequence[tuple[Series, ...]],
        pair_series: Sequence[Series],
    ) -> bytes:
        """Return a serialised Layout. domains come with their counters' offsets in µJ.

        Its series are the node's, a block for each workload, and those of workloads with a GPU or a disk.
        """
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
        self._count_to(max(len(workloads), len(domains), len(devices)))
        workload_place = dict(zip(map(_name, workloads), count(1)))
        domain_place = {domain.name: i for i, (domain, _) in enumerate(domains, start=1)}
        parts = self._workloads(workloads, workload_place, domain_place)
        device_place = {device.name: i for i, device in enumerate(devices, start=1)}
        domain_place[""] = device_place[""] = workload_place[""] = 0
        sizes = list(map(len, blocks))
        nothing = _NONE * sum(sizes)
        columns = (
            (_metric, None, b"".join(self._metrics_of(blocks))),
            (_domain, domain_place, nothing),
            (_device, device_place, nothing),
            (_workload, workload_place, b"".join(map(mul, self._numbers[1:], sizes))),
        )
        # One message after the other is, in Protocol Buffers, both as one.
        message = [head.SerializeToString(), *parts]
        for tag, (subject, places, middle) in zip(_TAGS, columns, strict=True):
            first, last = (
                b"".join([_varint(places[subject(each)] if places else subject(each)) for each in some])
                for some in (series, pair_series)
            )
            message += [tag, _varint(len(first) + len(middle) + len(last)), first, middle, last]
        return b"".join(message)

    def _workloads(
        self, workloads: Sequence[Workload], places: Mapping[str, int], domains: Mapping[str, int]
    ) -> list[bytes]:
        """Return each workload as a serialised Layout of nothing else."""
        if (names := tuple(domains)) != self._domain_names:
            self._domain_names, self._parts = names, {}
        parents = list(map(places.get, map(_parent, workloads), repeat(0)))
        keys = list(zip(map(id, workloads), parents, strict=True))
        parts = list(map(self._parts.get, keys, repeat(b"")))
        for at in [at for at, part in enumerate(parts) if not part]:
            layout = report_pb2.Layout(workloads=[_message(workloads[at], parents[at], domains)])
            parts[at] = layout.SerializeToString()
        # As long as the objects are kept, no other has their id.
        self._known, self._parts = workloads, dict(zip(keys, parts, strict=True))
        return parts

    def _metrics_of(self, blocks: Sequence[tuple[Series, ...]]) -> list[bytes]:
        keys = list(map(id, blocks))
        metrics = list(map(self._metrics.get, keys, repeat(b"")))
        for at in [at for at, each in enumerate(metrics) if not each]:
            metrics[at] = b"".join([_varint(series.metric) for series in blocks[at]])
        self._blocks, self._metrics = blocks, dict(zip(keys, metrics, strict=True))
        return metrics

    def _count_to(self, most: int) -> None:
        self._numbers += [_varint(number) for number in range(len(self._numbers), most + 1)]


def _varint(number: int) -> bytes:
    """Return a number that is not negative as Protocol Buffers write it."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


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
