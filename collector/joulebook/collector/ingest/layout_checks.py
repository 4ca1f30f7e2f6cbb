"""What a Layout has to be: names that may be stored, places that there are, amounts that are possible."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from joulebook.collector.ingest.refusal import invalid
from joulebook.collector.ledger.domains import CPU, GPU, STORAGE, UnknownDomainError, class_of, kind_of
from joulebook.v1 import metrics_pb2, report_pb2
from joulebook.v1.catalogue import MetricEntry, catalogue

Ints = npt.NDArray[np.int64]

MAX_SERIES = 100_000
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
# Of what a driver calls a device.
_MOST_FACT = 255
_SUBJECT = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
# No machine has as much memory, nor does a domain draw as much at once.
_WHOLE_PPM = 1_000_000
_MAX_AMOUNT = 1 << 50
_MAX_OFFSET_UJ = 1 << 62
# Of all workloads together, so that sums of what they hold stay inside 63 bits.
_MAX_RESERVED_MILLICPUS, _MAX_RESERVED_BYTES = 1 << 38, 1 << 60
MAX_CLOCK_US = 1 << 52
_KINDS = ("domain", "device", "workload")
_EXPECTED = {CPU: "CPU package", GPU: "GPU", STORAGE: "disk"}
# What the domain is of series that tell of a workload and a domain.
_DOMAIN_OF: dict[int, int] = {
    metrics_pb2.METRIC_WORKLOAD_GPU_UTILISATION: GPU,
    metrics_pb2.METRIC_WORKLOAD_DISK_IO: STORAGE,
}


def _needs() -> Ints:
    """Return (kinds, metrics): 1 where a series of the metric names such a subject, -1 for no metric."""
    known = catalogue()
    needs = np.full((len(_KINDS), max(known) + 1), -1, dtype=np.int64)
    for number, entry in known.items():
        needs[:, number] = [kind in entry.subjects for kind in _KINDS]
    return needs


_NEEDS = _needs()


def check_node(node: str) -> None:
    """Refuse a node's name that is not a host name."""
    if not _NODE.fullmatch(node):
        raise invalid(f"node {node[:80]!r}: expected a host name of letters, digits, '.', '_' and '-'")


def check_layout(message: report_pb2.Layout) -> None:
    """Refuse a Layout that is not sound, saying why."""
    check_node(message.node)
    _check_subjects(message)
    _check_series(message)


def _check_subjects(message: report_pb2.Layout) -> None:
    for kind, names in (
        ("domain", [d.name for d in message.domains]),
        ("device", [d.name for d in message.devices]),
        ("workload", [w.id for w in message.workloads]),
    ):
        for name in names:
            if not _SUBJECT.fullmatch(name):
                raise invalid(f"{kind} {name[:80]!r}: expected 1 to 255 printable ASCII characters")
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise invalid(f"{kind} {twice!r}: named twice; it would be counted twice")
    millicpus = sum(w.reserved_millicpus for w in message.workloads)
    memory_bytes = sum(w.reserved_memory_bytes for w in message.workloads)
    if millicpus > _MAX_RESERVED_MILLICPUS or memory_bytes > _MAX_RESERVED_BYTES:
        raise invalid(f"workloads reserve {millicpus} millicpus and {memory_bytes} bytes together: absurd")
    _check_domains(message)
    _check_devices(message)
    _check_workloads(message)
    if not 0 < message.host.logical_cpus <= 1 << 20:
        raise invalid(f"host.logical_cpus {message.host.logical_cpus}: expected 1 to {1 << 20}")
    if message.host.memory_bytes > _MAX_AMOUNT:
        raise invalid(f"host.memory_bytes {message.host.memory_bytes}: expected at most {_MAX_AMOUNT}")


def _check_domains(message: report_pb2.Layout) -> None:
    for domain in message.domains:
        try:
            kind_of(domain.name)
        except UnknownDomainError as error:
            raise invalid(str(error)) from error
        if domain.kind == report_pb2.SOURCE_KIND_UNSPECIFIED:
            raise invalid(f"domain {domain.name!r}: no kind of source")
        if max(domain.resolution_uj, domain.range_uj, domain.limit_mw) > _MAX_AMOUNT:
            raise invalid(f"domain {domain.name!r}: resolution, range or limit is absurd")
        if abs(domain.offset_uj) > _MAX_OFFSET_UJ:
            raise invalid(f"domain {domain.name!r}: offset is absurd")


def _check_devices(message: report_pb2.Layout) -> None:
    for device in message.devices:
        for fact in (device.uuid, device.model, device.part_of):
            if len(fact) > _MOST_FACT or not fact.isprintable():
                raise invalid(
                    f"device {device.name!r}: {fact[:80]!r}: expected at most {_MOST_FACT} printable signs"
                )


def _check_workloads(message: report_pb2.Layout) -> None:
    for place, workload in enumerate(message.workloads):
        if workload.kind not in (
            report_pb2.WORKLOAD_KIND_JOB,
            report_pb2.WORKLOAD_KIND_SYSTEM,
            report_pb2.WORKLOAD_KIND_AGENT,
        ):
            raise invalid(f"workload {workload.id!r}: kind {workload.kind} is not known")
        if workload.parent > len(message.workloads):
            raise invalid(f"workload {workload.id!r}: parent {workload.parent} does not exist")
        if workload.reserved_millicpus > 1 << 30 or workload.reserved_memory_bytes > _MAX_AMOUNT:
            raise invalid(f"workload {workload.id!r}: reservation is absurd")
        _check_job(workload)
        if not 0 <= workload.start_unix_us <= MAX_CLOCK_US:
            raise invalid(f"workload {workload.id!r}: started at an absurd time")
        if len(set(workload.gpu)) != len(workload.gpu):
            raise invalid(f"workload {workload.id!r}: holds a GPU twice")
        if len(workload.gpu_share_ppm) not in (0, len(workload.gpu)):
            raise invalid(
                f"workload {workload.id!r}: {len(workload.gpu_share_ppm)} shares of {len(workload.gpu)} "
                "GPUs: expected one a GPU, or none"
            )
        for ppm in workload.gpu_share_ppm:
            if not 0 < ppm <= _WHOLE_PPM:
                raise invalid(
                    f"workload {workload.id!r}: holds {ppm} ppm of a GPU: expected 1 to {_WHOLE_PPM}"
                )
        for gpu in workload.gpu:
            _check_domain(message, f"workload {workload.id!r}: holds", gpu, GPU)
        if len(set(workload.cpu_domain)) != len(workload.cpu_domain):
            raise invalid(f"workload {workload.id!r}: may run on a CPU package twice")
        for package in workload.cpu_domain:
            _check_domain(message, f"workload {workload.id!r}: may run on", package, CPU)
        _check_ancestry(message, place)


def _check_job(workload: report_pb2.Workload) -> None:
    is_job = workload.kind == report_pb2.WORKLOAD_KIND_JOB
    if workload.job and not (is_job and _SUBJECT.fullmatch(workload.job)):
        raise invalid(
            f"workload {workload.id!r}: part of {workload.job[:80]!r}: expected a job's id, of a job"
        )


def _check_domain(message: report_pb2.Layout, what: str, place: int, class_: int) -> None:
    if not 0 < place <= len(message.domains):
        raise invalid(f"{what} domain {place}, which does not exist")
    if class_of(name := message.domains[place - 1].name) != class_:
        raise invalid(f"{what} domain {name!r}: expected a {_EXPECTED[class_]}")


def _check_ancestry(message: report_pb2.Layout, place: int) -> None:
    seen, at = {place}, message.workloads[place].parent - 1
    while at >= 0:
        if at in seen:
            raise invalid(f"workload {message.workloads[place].id!r}: contains itself")
        seen.add(at)
        at = message.workloads[at].parent - 1


def _check_series(message: report_pb2.Layout) -> None:
    count = len(message.series_metric)
    if not 0 < count <= MAX_SERIES:
        raise invalid(f"layout of {count} series: expected 1 to {MAX_SERIES}")
    names = (message.series_domain, message.series_device, message.series_workload)
    if any(len(p) != count for p in names):
        raise invalid(f"layout: series columns of different lengths ({count}, {[len(p) for p in names]})")
    metric = np.array(message.series_metric, dtype=np.int64)
    unknown = (metric <= 0) | (metric >= _NEEDS.shape[1])
    unknown |= _NEEDS[0, np.where(unknown, 0, metric)] < 0
    if unknown.any():
        raise invalid(f"series metric {metric[unknown.argmax()]}: not in the catalogue of this collector")
    places = [np.array(p, dtype=np.int64) for p in names]
    sizes = (len(message.domains), len(message.devices), len(message.workloads))
    for number, (kind, place, size) in enumerate(zip(_KINDS, places, sizes, strict=True)):
        if (beyond := place > size).any():
            row = int(beyond.argmax())
            raise invalid(f"series of {_metric(metric[row]).name}: {kind} {place[row]} does not exist")
        if (unlike := (place > 0) != (_NEEDS[number, metric] > 0)).any():
            entry = _metric(metric[unlike.argmax()])
            raise invalid(f"series of {entry.name}: expected {_expected_subject(entry)}")
    for row in np.flatnonzero(np.isin(metric, list(_DOMAIN_OF))).tolist():
        class_ = _DOMAIN_OF[int(metric[row])]
        _check_domain(message, f"series of {_metric(metric[row]).name}: of", int(places[0][row]), class_)
    name = metric
    for place, size in zip(places, sizes, strict=True):
        name = name * (size + 1) + place
    order = np.argsort(name, kind="stable")
    if (twice := name[order][1:] == name[order][:-1]).any():
        entry = _metric(metric[order[1:][twice.argmax()]])
        raise invalid(f"series of {entry.name}: named twice for the same subject")


def _metric(number: np.int64) -> MetricEntry:
    return catalogue()[int(number)]


def _expected_subject(entry: MetricEntry) -> str:
    if len(entry.subjects) > 1:
        return " and ".join(f"a {subject}" for subject in entry.subjects)
    return f"a {entry.subject} as its only subject"
