"""NVML, begun, and every GPU that it tells of: what is found, begun again, and given back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from joulebook.agent.meters.looks import Looks
from joulebook.agent.meters.nvml_codes import NvmlError
from joulebook.agent.meters.nvml_events import Xids
from joulebook.agent.meters.nvml_gauges import Gauges
from joulebook.agent.meters.nvml_gpu import Library, NvmlGpu
from joulebook.agent.meters.nvml_instances import Instance
from joulebook.agent.meters.nvml_metered import Counter, Metered, MeteredGpu, tells_module
from joulebook.agent.meters.row import Rows
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, UNREADABLE, WORKING, Device, Finding, Probe, Series
from joulebook.v1 import report_pb2

_FIX_BINDINGS = "pip install 'joulebook[gpu]'"
_NAME = "nvml"

# The counters that domains had, by UUID and domain, so that they go on.
Known = Mapping[tuple[str, str], Counter]


def load() -> Library:
    """Begin NVML. NvmlError: the bindings, the library or the driver are not there."""
    try:
        import pynvml  # noqa: PLC0415  (only where there is a GPU is it needed)
    except ImportError as error:
        raise NvmlError("the Python bindings of NVML are not installed", _FIX_BINDINGS) from error
    return Library(pynvml)


class Found:
    """What there is. NvmlError: NVML is not there. Takes as long as the driver does."""

    def __init__(self, packages: int, known: Known, hangs_s: float) -> None:
        self._library = load()
        self._findings: list[Finding] = []
        gpus = self._find()
        xids = self.xids = Xids(self._library.nvml)
        telling = xids.watch((gpu.uuid, gpu.handle) for gpu in gpus)
        has_modules = self._has_modules(gpus, packages)
        self.meters: list[MeteredGpu] = []
        for gpu in gpus:
            before = {name: counter for (uuid, name), counter in known.items() if uuid == gpu.uuid}
            gauges = Gauges(gpu, xids, has_xids=gpu.uuid in telling)
            try:
                meter = MeteredGpu(gpu, gauges, before, has_module=has_modules)
            except NvmlError as error:
                gauges.close()
                self._findings.append(Finding(f"nvml:{gpu.domain}", UNREADABLE, str(error), error.fix))
                continue
            self.meters.append(meter)
        self.metered: list[Metered] = [each for meter in self.meters for each in meter.all()]
        self.rows: Rows[MeteredGpu] = Rows(_NAME, self.meters, xids.look_quietly, hangs_s)
        self.looks = Looks(self.meters, self.rows)
        for meter in self.meters:
            meter.gpu.look = partial(self.looks.of, meter)

    @property
    def known(self) -> dict[tuple[str, str], Counter]:
        """Return the counters of all domains."""
        return {
            (meter.gpu.uuid, each.domain.name): each.counter for meter in self.meters for each in meter.all()
        }

    @property
    def is_divided_anew(self) -> bool:
        """Say whether GPUs have other MIG instances than were told of."""
        return any(meter.gauges.instances.changed for meter in self.meters)

    def instances_last(self) -> list[int]:
        """Return the last values of all MIG instances, in the order of probe()."""
        return [value for one in self._instances for value in one.last]

    def probe(self) -> Probe:
        """Return what there is, as a source tells it."""
        for meter in self.meters:
            meter.gauges.instances.take()
        findings = list(self._findings)
        if self.meters:
            findings.insert(0, Finding(_NAME, WORKING))
        elif not findings:
            findings.append(Finding(_NAME, ABSENT, "the NVIDIA driver has no GPU"))
        return Probe(
            series=energy_series(each.domain.name for each in self.metered)
            + tuple(
                Series(metric, device=meter.domain.name)
                for meter in self.meters
                for metric in meter.gauges.metrics
            )
            + tuple(
                Series(metric, device=one.device.name) for one in self._instances for metric in one.metrics
            ),
            domains=tuple(each.domain for each in self.metered),
            devices=tuple(
                Device(
                    meter.domain.name,
                    report_pb2.DEVICE_KIND_GPU,
                    size_bytes=meter.gpu.size_bytes,
                    power_limit_mw=meter.gpu.limit_mw,
                    uuid=meter.gpu.uuid,
                    model=meter.gpu.model,
                )
                for meter in self.meters
            )
            + tuple(one.device for one in self._instances),
            findings=tuple(findings),
        )

    def renewal(self) -> Callable[[MeteredGpu], None]:
        """Return what begins NVML again with the first GPU that it is called for."""
        meters, library, xids = list(self.meters), self._library, self.xids

        def renew(_: MeteredGpu) -> None:
            every, meters[:] = list(meters), []
            if not every:
                return
            for meter in every:
                meter.gauges.close()
            xids.close()
            with contextlib.suppress(NvmlError):
                library.again()
            found = []
            for meter in every:
                with contextlib.suppress(NvmlError):
                    meter.gpu.renew()
                    meter.gauges.renew()
                    found.append(meter.gpu)
            xids.watch((gpu.uuid, gpu.handle) for gpu in found)

        return renew

    def close(self) -> None:
        """Give NVML back."""
        # Where the driver hangs, so would this.
        if self.rows.close():
            for meter in self.meters:
                meter.gauges.close()
            self.xids.close()
            with contextlib.suppress(NvmlError):
                self._library.close()

    @property
    def _instances(self) -> Iterator[Instance]:
        return (one for meter in self.meters for one in meter.gauges.instances.each)

    def _find(self) -> list[NvmlGpu]:
        gpus = []
        for index in range(self._library.count()):
            try:
                gpus.append(NvmlGpu(self._library.nvml, index))
            except NvmlError as error:
                self._findings.append(Finding(f"nvml:gpu.{index}", UNREADABLE, str(error), error.fix))
        return gpus

    def _has_modules(self, gpus: Sequence[NvmlGpu], packages: int) -> bool:
        """Say whether each GPU is alone on a module with a CPU, so that both have one number."""
        telling = [gpu for gpu in gpus if tells_module(gpu)]
        if not telling or (len(telling) == len(gpus) == packages):
            return bool(telling)
        reason = (
            f"not booked: which of {packages} CPUs each of {len(gpus)} GPUs shares a module with is not known"
        )
        self._findings.append(Finding("nvml:module", WORKING, reason))
        return False
