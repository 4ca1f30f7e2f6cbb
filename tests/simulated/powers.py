"""Reports of simulated nodes with what an agent learnt of their jobs."""

from __future__ import annotations

from collections.abc import Mapping

from joulebook.v1 import metrics_pb2 as m
from joulebook.v1 import report_pb2
from joulebook.v1.naming import layout_hash

POWERS = (m.METRIC_NODE_OTHERS_CPU_POWER, m.METRIC_WORKLOAD_CPU_POWER, m.METRIC_WORKLOAD_CPU_POWER_ERROR)


def tell_powers(
    layouts: dict[int, bytes],
    report: report_pb2.Report,
    others_mw: int,
    jobs: Mapping[str, tuple[int, int]],
) -> None:
    """Add to a Report, and its layout, what a busy CPU of each job draws, mW, and its share's error, ppm."""
    layout = report_pb2.Layout.FromString(layouts[report.layout_hash])
    places = {w.id: i for i, w in enumerate(layout.workloads, start=1)}
    figures = [(POWERS[0], 0, others_mw)]
    figures += [(POWERS[1], places[job], mw) for job, (mw, _) in jobs.items()]
    figures += [(POWERS[2], places[job], ppm) for job, (_, ppm) in jobs.items()]
    for metric, workload, value in figures:
        layout.series_metric.append(metric)
        layout.series_domain.append(0)
        layout.series_device.append(0)
        layout.series_workload.append(workload)
        report.values.extend([value, *([0] * len(report.interval_us))])
    _name(layouts, report, layout)


def untell_powers(layouts: dict[int, bytes], report: report_pb2.Report) -> None:
    """Leave out of a Report what its agent learnt."""
    layout = report_pb2.Layout.FromString(layouts[report.layout_hash])
    width = len(report.interval_us) + 1
    kept = [i for i, metric in enumerate(layout.series_metric) if metric not in POWERS]
    values = [value for i in kept for value in report.values[i * width : (i + 1) * width]]
    for name in ("series_metric", "series_domain", "series_device", "series_workload"):
        column = list(getattr(layout, name))
        layout.ClearField(name)
        getattr(layout, name).extend(column[i] for i in kept)
    report.ClearField("values")
    report.values.extend(values)
    _name(layouts, report, layout)


def _name(layouts: dict[int, bytes], report: report_pb2.Report, layout: report_pb2.Layout) -> None:
    serialized = layout.SerializeToString(deterministic=True)
    report.layout_hash = layout_hash(serialized)
    layouts[report.layout_hash] = serialized
