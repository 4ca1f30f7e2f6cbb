"""What Prometheus reads of every node's devices and domains, where the configuration asks for that."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from joulebook.collector.api.device_kinds import DOMAIN, KINDS
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ledger.layout import Ints, NodeLayout
from joulebook.v1 import report_pb2
from joulebook.v1.catalogue import catalogue, gauge_name
from joulebook.v1.reference import prometheus_name

# Prometheus forgets a series after as long; what a silent node's devices do now is not known.
_SILENT_US = 300_000_000
# Digits after the point that a sub-unit has in its base unit.
_DIGITS = {"uJ": 6, "us": 6, "ppm": 6, "mW": 3, "mC": 3}
# By metric: row and labels of each series.
Told = dict[int, list[tuple[int, str]]]


@dataclass(slots=True)
class _Node:
    """A node's newest readings, a value a row of its layout."""

    unix_us: int
    layout: NodeLayout
    values: Ints
    # Which of them are told, by metric: row and labels. Made where it is asked for.
    told: Told | None = None
    facts: tuple[str, ...] = ()


class DeviceFigures:
    """The newest figures of devices of the kinds that are wanted, of each node in memory.

    At most `most` samples are told; nodes beyond that, in the order of their names, are left out whole, and
    counted. A collector tells of nodes that report to it.
    """

    def __init__(self, kinds: Collection[str], most: int) -> None:
        self._domains = DOMAIN in kinds
        self._kinds = frozenset(KINDS[kind] for kind in kinds if kind != DOMAIN)
        self._most = most
        self._nodes: dict[str, _Node] = {}
        self._taking = threading.Lock()

    def booked(self, reports: Sequence[Decoded]) -> None:
        """Take in Reports that are durable. May be called from any thread."""
        with self._taking:
            for report in reports:
                unix_us = report.end_us + report.realtime_offset_us
                before = self._nodes.get(report.node)
                if before is not None and before.unix_us >= unix_us:
                    continue
                readings = report.readings
                node = _Node(unix_us, readings.layout, readings.values.sum(axis=1))
                if before is not None and before.layout.hash == readings.layout.hash:
                    node.told, node.facts = before.told, before.facts
                self._nodes[report.node] = node

    def text(self, now_us: int) -> str:
        """Return all figures in Prometheus' format."""
        with self._taking:
            self._nodes = {n: one for n, one in self._nodes.items() if now_us - one.unix_us <= _SILENT_US}
            nodes = sorted(self._nodes.items())
        told: dict[int, list[str]] = defaultdict(list)
        facts: list[str] = []
        count = left_out = 0
        for name, node in nodes:
            if node.told is None:
                node.told, node.facts = self._plan(name, node.layout)
            mine = sum(map(len, node.told.values())) + len(node.facts)
            if count + mine > self._most:
                left_out += 1
                continue
            count += mine
            facts += node.facts
            values = node.values.tolist()
            for metric, rows in node.told.items():
                text = _texts(catalogue()[metric].unit)
                told[metric] += [f"{labels} {text(values[row])}" for row, labels in rows]
        return "".join(line + "\n" for line in _lines(told, facts, left_out))

    def _plan(self, name: str, layout: NodeLayout) -> tuple[Told, tuple[str, ...]]:
        message = layout.message
        devices = [_labels(name, "device", d.name) if d.kind in self._kinds else "" for d in message.devices]
        domains = [_labels(name, "domain", d.name) if self._domains else "" for d in message.domains]
        told: Told = defaultdict(list)
        places = zip(
            message.series_metric,
            message.series_domain,
            message.series_device,
            message.series_workload,
            strict=True,
        )
        for row, (metric, domain, device, workload) in enumerate(places):
            if workload or not (domain or device):
                continue
            if labels := devices[device - 1] if device else domains[domain - 1]:
                told[metric].append((row, labels))
        facts = tuple(
            f"{labels[:-1]},{_facts(device)}}} 1"
            for device, labels in zip(message.devices, devices, strict=True)
            if labels and (device.uuid or device.model)
        )
        return dict(told), facts


def _lines(told: dict[int, list[str]], facts: list[str], left_out: int) -> Iterator[str]:
    for metric in sorted(told):
        entry = catalogue()[metric]
        name = prometheus_name(entry)
        yield from _head(name, "counter" if entry.is_counter else "gauge", entry.help)
        yield from [name + sample for sample in told[metric]]
    if facts:
        name = gauge_name("device", "info", "1")
        yield from _head(name, "gauge", "What a device is: its UUID, its model, what it is a part of.")
        yield from [name + sample for sample in facts]
    name = gauge_name("exposition", "left_out_nodes", "1")
    yield from _head(name, "gauge", "Nodes left out here, beyond metrics_device_samples.")
    yield f"{name} {left_out}"


def _head(name: str, kind: str, help_: str) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"


def _texts(unit: str) -> Callable[[int], str]:
    """Return what writes a value of a sub-unit in its base unit, with nothing rounded."""
    digits = _DIGITS.get(unit, 0)
    scale = 10**digits
    if unit == "kHz":
        return lambda value: str(value * 1000)
    if not digits:
        return str
    return lambda value: f"{'-' if value < 0 else ''}{abs(value) // scale}.{abs(value) % scale:0{digits}d}"


def _labels(node: str, subject: str, name: str) -> str:
    return f'{{node="{_escaped(node)}",{subject}="{_escaped(name)}"}}'


def _facts(device: report_pb2.Device) -> str:
    told = (("uuid", device.uuid), ("model", device.model), ("part_of", device.part_of))
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in told)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
