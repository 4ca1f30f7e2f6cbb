"""NVML, begun, and every GPU that it tells of: what is found, begun again, and given back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from joulebook.agent.meters.codes import DriverError
from joulebook.agent.meters.gpus_found import FoundGpus
from joulebook.agent.meters.looks import Looks
from joulebook.agent.meters.nvml_events import Xids
from joulebook.agent.meters.nvml_gauges import Gauges
from joulebook.agent.meters.nvml_gpu import Library, NvmlGpu
from joulebook.agent.meters.nvml_metered import Energy, MeteredGpu, tells_module
from joulebook.agent.source import UNREADABLE, WORKING, Finding

_FIX_BINDINGS = "pip install 'joulebook[gpu]'"
_NAME = "nvml"

# What was booked of domains, by UUID and domain, so that it goes on.
Known = Mapping[tuple[str, str], Energy]


def load() -> Library:
    """Begin NVML. DriverError: the bindings, the library or the driver are not there."""
    try:
        import pynvml  # noqa: PLC0415  (only where there is a GPU is it needed)
    except ImportError as error:
        raise DriverError("the Python bindings of NVML are not installed", _FIX_BINDINGS) from error
    return Library(pynvml)


class Found(FoundGpus[MeteredGpu]):
    """What there is. DriverError: NVML is not there."""

    def __init__(self, packages: int, known: Known, hangs_s: float) -> None:
        super().__init__(_NAME, "the NVIDIA driver has no GPU")
        self._library = load()
        gpus = self._find()
        xids = self.xids = Xids(self._library.nvml)
        telling = xids.watch((gpu.uuid, gpu.handle) for gpu in gpus)
        has_modules = self._has_modules(gpus, packages)
        for gpu in gpus:
            before = {name: energy for (uuid, name), energy in known.items() if uuid == gpu.uuid}
            gauges = Gauges(gpu, xids, has_xids=gpu.uuid in telling)
            try:
                meter = MeteredGpu(gpu, gauges, before, has_module=has_modules)
            except DriverError as error:
                gauges.close()
                self.told.append(Finding(f"{_NAME}:{gpu.domain}", UNREADABLE, str(error), error.fix))
                continue
            self.meters.append(meter)
        self.begin(hangs_s, xids.look_quietly)
        self.looks = Looks(self.meters, self.rows)

    @property
    def known(self) -> Known:
        """Return what is booked of all domains."""
        return {
            (meter.gpu.uuid, each.domain.name): each.energy for meter in self.meters for each in meter.all()
        }

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
            with contextlib.suppress(DriverError):
                library.again()
            found = []
            for meter in every:
                with contextlib.suppress(DriverError):
                    meter.gpu.renew()
                    meter.gauges.renew()
                    found.append(meter.gpu)
            xids.watch((gpu.uuid, gpu.handle) for gpu in found)

        return renew

    def give_back(self) -> None:
        """End NVML."""
        for meter in self.meters:
            meter.gauges.close()
        self.xids.close()
        with contextlib.suppress(DriverError):
            self._library.close()

    def _find(self) -> list[NvmlGpu]:
        gpus = []
        for index in range(self._library.count()):
            try:
                gpus.append(NvmlGpu(self._library.nvml, index))
            except DriverError as error:
                self.told.append(Finding(f"{_NAME}:gpu.{index}", UNREADABLE, str(error), error.fix))
        return gpus

    def _has_modules(self, gpus: Sequence[NvmlGpu], packages: int) -> bool:
        """Say whether each GPU is alone on a module with a CPU, so that both have one number."""
        telling = [gpu for gpu in gpus if tells_module(gpu)]
        if not telling or (len(telling) == len(gpus) == packages):
            return bool(telling)
        reason = (
            f"not booked: which of {packages} CPUs each of {len(gpus)} GPUs shares a module with is not known"
        )
        self.told.append(Finding(f"{_NAME}:module", WORKING, reason))
        return False
