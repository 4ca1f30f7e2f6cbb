"""One interval's readings as people and scripts read them: `joulebook agent --once --json`."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from joulebook.agent.doctor import state_name
from joulebook.agent.sampler import Sampler
from joulebook.agent.source import Finding
from joulebook.agent.sources import Sources
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue

# What is listed as it is, under its kind's title.
_TITLES = (
    ("packages", report_pb2.DEVICE_KIND_PACKAGE),
    ("numa", report_pb2.DEVICE_KIND_NUMA),
    ("nvme", report_pb2.DEVICE_KIND_NVME),
    ("rdma", report_pb2.DEVICE_KIND_RDMA),
    ("network_storage", report_pb2.DEVICE_KIND_NETWORK_STORAGE),
    ("storage_daemons", report_pb2.DEVICE_KIND_STORAGE_DAEMON),
)


def reading(
    report: report_pb2.Report, layout: report_pb2.Layout, sampler: Sampler, sources: Sources
) -> dict[str, Any]:
    """Return a Report's last interval: increments of counters, levels of gauges, in the catalogue's units."""
    ticks = len(report.interval_us)
    interval_us = report.interval_us[-1]
    entries = catalogue()
    node: dict[str, int] = {}
    subjects: dict[str, dict[str, dict[str, int]]] = {
        kind: defaultdict(dict) for kind in ("domain", "device", "workload")
    }
    # By metric, workload and domain.
    pairs: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    names = {
        "domain": [d.name for d in layout.domains],
        "device": [d.name for d in layout.devices],
        "workload": [w.id for w in layout.workloads],
    }
    columns = zip(
        layout.series_metric, layout.series_domain, layout.series_device, layout.series_workload, strict=True
    )
    for number, (metric, domain, device, workload) in enumerate(columns):
        values = report.values[number * (ticks + 1) : (number + 1) * (ticks + 1)]
        entry = entries[metric]
        value = values[-1] if entry.is_counter else sum(values)
        if len(entry.subjects) > 1:
            pairs[entry.name][names["workload"][workload - 1]][names["domain"][domain - 1]] = value
            continue
        place = {"domain": domain, "device": device, "workload": workload}.get(entry.subject, 0)
        of = subjects[entry.subject][names[entry.subject][place - 1]] if place else node
        of[entry.name] = value
    return {
        "node": report.node,
        "interval_s": interval_us / 1e6,
        "domains": [_domain(d, subjects["domain"][d.name], interval_us) for d in layout.domains],
        "usage": node,
        "disks": [
            {
                "device": d.name,
                "tier": report_pb2.DiskTier.Name(d.tier).removeprefix("DISK_TIER_").lower(),
                "size_bytes": d.size_bytes,
                **subjects["device"][d.name],
            }
            for d in layout.devices
            if d.kind == report_pb2.DEVICE_KIND_DISK
        ],
        "network": [
            {"device": d.name, **subjects["device"][d.name]}
            for d in layout.devices
            if d.kind == report_pb2.DEVICE_KIND_NETWORK
        ],
        "gpus": [
            {"device": d.name, **_gpu_facts(d), **subjects["device"][d.name]}
            for d in layout.devices
            if d.kind == report_pb2.DEVICE_KIND_GPU
        ],
        "gpu_instances": [
            {"device": d.name, "part_of": d.part_of, **_gpu_facts(d), **subjects["device"][d.name]}
            for d in layout.devices
            if d.kind == report_pb2.DEVICE_KIND_GPU_INSTANCE
        ],
        **{
            title: [
                {"device": d.name, **subjects["device"][d.name]} for d in layout.devices if d.kind == kind
            ]
            for title, kind in _TITLES
        },
        "workloads": [
            {
                "id": w.id,
                "kind": report_pb2.WorkloadKind.Name(w.kind).removeprefix("WORKLOAD_KIND_").lower(),
                "source": w.source,
                "name": w.name,
                "user": w.user,
                "parent": layout.workloads[w.parent - 1].id if w.parent else None,
                **subjects["workload"][w.id],
                "cpu_packages": [layout.domains[place - 1].name for place in w.cpu_domain],
                "gpus_held": [layout.domains[place - 1].name for place in w.gpu],
                "gpu_utilisation_ppm": pairs["workload_gpu_utilisation_ppm"][w.id],
                "disk_io_bytes": pairs["disk_io_bytes"][w.id],
            }
            for w in layout.workloads
        ],
        "sources": _source_rows(_statuses(report, sampler), sources),
    }


def _statuses(report: report_pb2.Report, sampler: Sampler) -> list[Finding]:
    sent = [Finding(s.name, s.state, s.reason, s.fix) for s in report.sources]
    later = sampler.findings()
    return [f for f in sent if f.name not in {x.name for x in later}] + later


def _gpu_facts(device: report_pb2.Device) -> dict[str, Any]:
    return {"uuid": device.uuid, "model": device.model, "size_bytes": device.size_bytes}


def _domain(domain: report_pb2.Domain, values: dict[str, int], interval_us: int) -> dict[str, Any]:
    energy_uj = values[catalogue()[metrics.METRIC_DOMAIN_ENERGY].name]
    unread_us = values[catalogue()[metrics.METRIC_DOMAIN_UNREAD].name]
    sampling_uj = values.get(catalogue()[metrics.METRIC_DOMAIN_SAMPLING].name, 0)
    kind = report_pb2.SourceKind.Name(domain.kind).removeprefix("SOURCE_KIND_").lower()
    return {
        "domain": domain.name,
        "source": domain.source,
        "kind": kind,
        "state": "working" if unread_us == 0 else "unreadable",
        "energy_uj": energy_uj,
        "power_mw": energy_uj * 1000 // interval_us,
        "plus_minus_uj": energy_uj * domain.accuracy_ppm // 1_000_000 + domain.resolution_uj + sampling_uj,
        "idle_power_mw": values[catalogue()[metrics.METRIC_DOMAIN_IDLE_POWER].name],
    }


def _source_rows(findings: Sequence[Finding], sources: Sources) -> list[dict[str, Any]]:
    """Return how sources stand, one row a finding, with how long each took to look for what is there."""
    return [
        {
            "name": f.name,
            "state": state_name(f.state),
            "reason": f.reason,
            "fix": f.fix,
            "duration_us": sources.probe_us.get(f.name),
        }
        for f in findings
    ]
