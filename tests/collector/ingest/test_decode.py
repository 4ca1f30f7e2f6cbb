"""Nothing malformed or absurd is booked: it is refused, saying what was wrong."""

import contextlib
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.collector.ingest.decode import Decoded, decode_layout, decode_report
from joulebook.collector.ingest.refusal import RefusalError
from joulebook.collector.ingest.values import check, refusals
from joulebook.collector.ledger.book import book
from joulebook.v1 import metrics_pb2, report_pb2
from tests.simulated.garbage import spoilt_bytes
from tests.simulated.node import WALL_US, Load, SimulatedNode

_INTEGERS = {
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_SINT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_FIXED64: (0, (1 << 64) - 1),
}
NOW_US = WALL_US + 60_000_000
FUTURE_US = 300_000_000


def _sent() -> tuple[report_pb2.Layout, report_pb2.Report]:
    names = ("cpu.0", "memory.0", "gpu.0", "disk.nvme0n1")
    node = SimulatedNode(domains=[(name, report_pb2.SOURCE_KIND_COUNTER) for name in names])
    node.begin(
        [
            Load("slurm.1", cpu_us=1_000_000, gpu_ppm={"gpu.0": 500_000}),
            Load("slurm.2", disk_bytes={"disk.nvme0n1": 7}),
        ]
    )
    for _ in range(3):
        node.tick()
    report = node.report()
    return report_pb2.Layout.FromString(node.layouts[report.layout_hash]), report


def _taken(layout: report_pb2.Layout, report: report_pb2.Report) -> Decoded:
    """Return the Report as it would be booked, among others that are sound, few or many."""
    decoded = decode_report(report, decode_layout(layout.SerializeToString()), NOW_US, FUTURE_US)
    sound_layout, sound = _sent()
    other = decode_report(sound, decode_layout(sound_layout.SerializeToString()), NOW_US, FUTURE_US)
    refused = refusals([other, decoded, other])
    assert set(refused) <= {1}
    among_many = refusals([*[other] * 20, *[decoded] * 20])
    assert set(among_many) == (set(range(20, 40)) if refused else set())
    if refused:
        raise refused[1]
    check(decoded.readings)
    return decoded


def _name_energy_twice(y: report_pb2.Layout) -> None:
    for column in (y.series_metric, y.series_domain, y.series_device, y.series_workload):
        column.append(column[2])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda y: setattr(y, "node", ""), "expected a host name"),
        (lambda y: setattr(y, "node", "a b"), "expected a host name"),
        (lambda y: setattr(y, "node", "n" * 254), "expected a host name"),
        (lambda y: setattr(y.domains[0], "name", "fan.0"), r"domain 'fan\.0': expected one of"),
        (lambda y: setattr(y.domains[0], "name", "memory.0"), "named twice"),
        (lambda y: setattr(y.domains[0], "kind", 0), "no kind of source"),
        (lambda y: setattr(y.domains[0], "range_uj", 1 << 63), "absurd"),
        (lambda y: setattr(y.workloads[0], "id", "slurm.2"), "named twice"),
        (lambda y: y.devices.add(name="gpu.0", uuid="x" * 256), "at most 255 printable"),
        (lambda y: y.devices.add(name="gpu.0", model="a\nb"), "at most 255 printable"),
        (lambda y: setattr(y.workloads[0], "id", "\0"), "printable"),
        (lambda y: setattr(y.workloads[0], "kind", 9), "kind 9 is not known"),
        (lambda y: setattr(y.workloads[0], "parent", 7), "parent 7 does not exist"),
        (lambda y: setattr(y.workloads[0], "parent", 1), "contains itself"),
        (lambda y: setattr(y.workloads[0], "reserved_memory_bytes", 1 << 63), "absurd"),
        (lambda y: setattr(y.host, "logical_cpus", 0), "logical_cpus 0"),
        (lambda y: setattr(y.host, "memory_bytes", 1 << 63), "memory_bytes"),
        (lambda y: y.series_metric.__setitem__(0, 9999), "metric 9999: not in the catalogue"),
        (lambda y: y.series_metric.append(1), "different lengths"),
        (lambda y: y.series_domain.__setitem__(2, 9), "domain 9 does not exist"),
        (lambda y: y.series_domain.__setitem__(2, 0), "expected a domain as its only subject"),
        (lambda y: y.series_device.__setitem__(2, 1), "expected a domain as its only subject"),
        (lambda y: y.workloads[0].gpu.append(9), "holds domain 9, which does not exist"),
        (lambda y: y.workloads[0].gpu.append(0), "holds domain 0, which does not exist"),
        (lambda y: y.workloads[0].gpu.append(1), r"holds domain 'cpu\.0': expected a GPU"),
        (lambda y: y.workloads[0].gpu.extend([3, 3]), "holds a GPU twice"),
        (lambda y: setattr(y.workloads[0], "job", "a\nb"), "part of 'a.nb': expected a job's id"),
        (lambda y: y.workloads[0].gpu_share_ppm.append(5), "1 shares of 0 GPUs: expected one a GPU, or none"),
        (
            lambda y: (y.workloads[0].gpu.append(3), y.workloads[0].gpu_share_ppm.append(1_000_001)),
            "holds 1000001 ppm of a GPU: expected 1 to 1000000",
        ),
        (
            lambda y: (y.workloads[0].gpu.append(3), y.workloads[0].gpu_share_ppm.append(0)),
            "holds 0 ppm of a GPU: expected 1 to 1000000",
        ),
        (lambda y: y.workloads[0].cpu_domain.append(9), "may run on domain 9, which does not exist"),
        (lambda y: y.workloads[0].cpu_domain.append(3), r"run on domain 'gpu\.0': expected a CPU package"),
        (lambda y: y.workloads[0].cpu_domain.extend([1, 1]), "may run on a CPU package twice"),
        (lambda y: y.series_domain.__setitem__(_gpu_series(y), 0), "expected a workload and a domain"),
        (lambda y: y.series_workload.__setitem__(_gpu_series(y), 0), "expected a workload and a domain"),
        (lambda y: y.series_domain.__setitem__(_gpu_series(y), 1), r"of domain 'cpu\.0': expected a GPU"),
        (lambda y: y.series_domain.__setitem__(-1, 0), "expected a workload and a domain"),
        (lambda y: y.series_domain.__setitem__(-1, 3), r"of domain 'gpu\.0': expected a disk"),
        (_name_energy_twice, "named twice for the same subject"),
        (lambda y: y.ClearField("series_metric"), "0 series"),
    ],
)
def test_bad_layouts_are_refused(spoil: Callable[[report_pb2.Layout], None], says: str) -> None:
    """A layout that cannot be true is refused with INVALID_ARGUMENT, naming what is wrong."""
    layout, _ = _sent()
    spoil(layout)
    with pytest.raises(RefusalError, match=says) as refused:
        decode_layout(layout.SerializeToString())
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def _gpu_series(layout: report_pb2.Layout) -> int:
    return list(layout.series_metric).index(metrics_pb2.METRIC_WORKLOAD_GPU_UTILISATION)


def _row(layout: report_pb2.Layout, metric: int) -> int:
    return list(layout.series_metric).index(metric) * 4


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (lambda _, r: setattr(r, "boot", b"short"), "INVALID_ARGUMENT", "boot of 5 bytes"),
        (lambda _, r: r.ClearField("interval_us"), "INVALID_ARGUMENT", "0 intervals"),
        (lambda _, r: r.interval_us.extend([1] * 4000), "INVALID_ARGUMENT", "4003 intervals"),
        (lambda _, r: r.interval_us.__setitem__(0, 0), "INVALID_ARGUMENT", "lengths above 0"),
        (lambda _, r: r.values.append(1), "INVALID_ARGUMENT", "values: expected"),
        (lambda _, r: r.ClearField("values"), "INVALID_ARGUMENT", "0 values"),
        (lambda _, r: setattr(r, "sequence", 1 << 63), "INVALID_ARGUMENT", "absurd"),
        (lambda _, r: setattr(r, "realtime_offset_us", -(1 << 62)), "INVALID_ARGUMENT", "absurd"),
        (
            lambda _, r: setattr(r, "wall_clock", 256),
            "INVALID_ARGUMENT",
            "wall_clock 256: expected at most 255",
        ),
        (lambda _, r: r.values.__setitem__(0, -1), "INVALID_ARGUMENT", "a reading below 0"),
        (lambda _, r: r.values.__setitem__(0, -(1 << 63)), "INVALID_ARGUMENT", "a reading below 0"),
        (lambda _, r: r.values.__setitem__(0, (1 << 63) - 1), "INVALID_ARGUMENT", "values: expected"),
        (lambda _, r: r.values.__setitem__(1, -(1 << 63)), "INVALID_ARGUMENT", "values: expected"),
        (
            lambda y, r: r.values.__setitem__(_row(y, metrics_pb2.METRIC_DOMAIN_ENERGY) + 1, -5),
            "INVALID_ARGUMENT",
            r"energy_uj of cpu\.0: a counter that falls",
        ),
        (
            lambda y, r: r.values.__setitem__(_row(y, metrics_pb2.METRIC_DOMAIN_ENERGY) + 1, 1 << 41),
            "INVALID_ARGUMENT",
            r"energy_uj of cpu\.0: above 1000 kW",
        ),
        (
            lambda y, r: r.values.__setitem__(_gpu_series(y) * 4, 1_000_001),
            "INVALID_ARGUMENT",
            r"workload_gpu_utilisation_ppm of slurm\.1 on gpu\.0: above 1000000 ppm",
        ),
        (
            lambda _, r: setattr(r, "realtime_offset_us", r.realtime_offset_us + 10**9),
            "OUT_OF_RANGE",
            "in the future",
        ),
    ],
)
def test_bad_reports_are_refused(
    spoil: Callable[[report_pb2.Layout, report_pb2.Report], None], code: str, says: str
) -> None:
    """A Report that cannot be true is refused with a precise status, naming what is wrong."""
    layout, report = _sent()
    spoil(layout, report)
    with pytest.raises(RefusalError, match=says) as refused:
        _taken(layout, report)
    assert refused.value.code.name == code


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_a_layout_or_refused(serialized: bytes) -> None:
    """Whatever bytes arrive as a layout, they decode or are refused; nothing else comes out."""
    code = grpc.StatusCode.INVALID_ARGUMENT
    try:
        decode_layout(serialized)
    except RefusalError as refused:
        code = refused.code
    assert code is grpc.StatusCode.INVALID_ARGUMENT


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bent_reports_are_taken_or_refused(data: st.DataObject) -> None:
    """A true Report with any numbers changed is either believable, integer by integer, or refused."""
    layout, report = _sent()
    numbers = st.one_of(st.integers(-3, 3), st.integers(-(1 << 63), (1 << 63) - 1))
    for place, value in data.draw(
        st.dictionaries(st.integers(0, len(report.values) - 1), numbers, max_size=5)
    ).items():
        report.values[place] = value
    try:
        decoded = _taken(layout, report)
    except RefusalError as refused:
        code = refused.code
    else:
        code = grpc.StatusCode.INVALID_ARGUMENT
        values = decoded.readings.values
        assert (values[decoded.readings.layout.is_counter] >= 0).all()
    assert code is grpc.StatusCode.INVALID_ARGUMENT


_LAYOUT, _REPORT = (message.SerializeToString() for message in _sent())


@given(spoilt_bytes(_LAYOUT))
def test_a_spoilt_layout_is_refused_or_sound(data: bytes) -> None:
    """Whatever becomes of a layout's bytes, it is refused with a reason, or one that Reports can have."""
    with contextlib.suppress(RefusalError):
        layout = decode_layout(data)
        with contextlib.suppress(RefusalError):
            check(decode_report(report_pb2.Report.FromString(_REPORT), layout, NOW_US, FUTURE_US).readings)


@given(spoilt_bytes(_REPORT))
def test_spoilt_bytes_of_a_report_are_refused_or_bookable(data: bytes) -> None:
    """Whatever becomes of a Report's bytes, it is no message, refused with a reason, or booked exactly."""
    try:
        report = report_pb2.Report.FromString(data)
    except DecodeError:
        return
    with contextlib.suppress(RefusalError):
        decoded = decode_report(report, decode_layout(_LAYOUT), NOW_US, FUTURE_US)
        check(decoded.readings)
        assert not book([decoded.readings]).residual_uj.any()


@given(st.data())
def test_any_field_of_a_report_is_refused_or_bookable(data: st.DataObject) -> None:
    """Whatever stands in whatever field of a Report, it is refused with a reason or booked without a rest."""
    report = report_pb2.Report.FromString(_REPORT)
    field = data.draw(st.sampled_from([*report_pb2.Report.DESCRIPTOR.fields]))
    other = report_pb2.Report()
    with contextlib.suppress(DecodeError):
        other = report_pb2.Report.FromString(data.draw(spoilt_bytes(_REPORT)))
    report.ClearField(field.name)  # type: ignore[arg-type]  # any of them
    made = data.draw(st.sampled_from(["gone", "other", "extreme"]))
    if made == "other":
        alone = report_pb2.Report()
        alone.CopyFrom(other)
        for each in report_pb2.Report.DESCRIPTOR.fields:
            if each.name != field.name:
                alone.ClearField(each.name)  # type: ignore[arg-type]  # as above
        report.MergeFrom(alone)
    elif made == "extreme" and field.type in _INTEGERS:
        least, most = _INTEGERS[field.type]
        numbers = data.draw(st.lists(st.sampled_from([least, -1 if least else 0, 0, 1, most]), max_size=9))
        if isinstance(getattr(report, field.name), int):
            setattr(report, field.name, numbers[0] if numbers else 0)
        else:
            getattr(report, field.name).extend(numbers)
    with contextlib.suppress(RefusalError):
        decoded = decode_report(report, decode_layout(_LAYOUT), NOW_US, FUTURE_US)
        check(decoded.readings)
        assert not book([decoded.readings]).residual_uj.any()
