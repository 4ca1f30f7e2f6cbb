"""What one look for GPUs found: each GPU with all that is metered of it, asked in rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from joulebook.agent.meters.gpu_metered import Metered
from joulebook.agent.meters.looks import Looks
from joulebook.agent.meters.row import Moment, Rows
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, SUSPECT, WORKING, Device, Finding, Probe, Series
from joulebook.v1 import report_pb2


class KnownGpu(Protocol):
    """What a GPU is called and how large it is."""

    domain: str
    uuid: str
    model: str
    size_bytes: int
    limit_mw: int


class MeteredGpu(Protocol):
    """A GPU with all that is metered of it."""

    error: OSError | None

    @property
    def gpu(self) -> KnownGpu:
        """Return the GPU."""

    @property
    def series(self) -> tuple[Series, ...]:
        """Return what values has: how it and its parts fare."""

    @property
    def values(self) -> Sequence[int]:
        """Return the last value of each."""

    @property
    def parts(self) -> tuple[Device, ...]:
        """Return what it is divided into."""

    def all(self) -> Sequence[Metered[Any]]:
        """Return its domains."""

    def ask(self, moment: Moment) -> None:
        """Ask the driver for the energy of all of them; in the thread that may hang."""

    def take_change(self) -> bool:
        """Say whether something else is to be told of it since the last call."""


M = TypeVar("M", bound=MeteredGpu)


class FoundGpus(ABC, Generic[M]):
    """What one look found. Whoever makes it waits as long as the driver takes."""

    def __init__(self, name: str, none: str) -> None:
        """none is said where there is no GPU. The subclass finds meters, and begins."""
        self.meters: list[M] = []
        # Of GPUs that cannot be read, and what else there is to say.
        self.told: list[Finding] = []
        self.looks: Looks[Any] | None = None
        self._name, self._none = name, none
        self._is_closed = False

    def ask(self, now_us: int, wait_s: float) -> None:
        """Ask every GPU for its energy, and wait so long for all of them together."""
        if self.looks is not None and (jobs := self.looks.energy(now_us)):
            self.rows.hurry_for(jobs, wait_s)
            return
        moment = Moment(now_us)
        self.rows.ask(lambda meter: meter.ask(moment), wait_s)

    def begin(self, hangs_s: float, before: Callable[[], None] = lambda: None) -> None:
        """Put the GPUs in rows."""
        self.gpus: tuple[Any, ...] = tuple([meter.gpu for meter in self.meters])
        self.metered: list[Metered[Any]] = [each for meter in self.meters for each in meter.all()]
        self.rows: Rows[M] = Rows(self._name, self.meters, before, hangs_s)

    @property
    @abstractmethod
    def known(self) -> Mapping[Any, Any]:
        """Return what goes on with the next look, by what tells GPUs apart."""

    def probe(self) -> Probe:
        """Return what there is, as a source tells it."""
        findings = list(self.told)
        if self.meters:
            findings.insert(0, Finding(self._name, WORKING))
        elif not findings:
            findings.append(Finding(self._name, ABSENT, self._none))
        return Probe(
            series=energy_series(each.domain.name for each in self.metered)
            + tuple(one for meter in self.meters for one in meter.series),
            domains=tuple(each.domain for each in self.metered),
            devices=tuple(device for meter in self.meters for device in (_device(meter.gpu), *meter.parts)),
            findings=tuple(findings)
            + tuple(
                Finding(f"{self._name}:{each.domain.name}.counter", SUSPECT, each.distrust)
                for each in self.metered
                if each.distrust
            ),
        )

    def take_changes(self) -> bool:
        """Say whether something else is to be told of any since the last call."""
        changes = [meter.take_change() for meter in self.meters]
        return any(changes)

    def close(self) -> bool:
        """Give the driver back; say whether it let that be: where it hangs, its handles are in use still."""
        if not self._is_closed and self.rows.close():
            self._is_closed = True
            self.give_back()
        return self._is_closed

    @abstractmethod
    def give_back(self) -> None:
        """Give back what the driver or the kernel holds for us."""


def _device(gpu: KnownGpu) -> Device:
    return Device(
        gpu.domain,
        report_pb2.DEVICE_KIND_GPU,
        size_bytes=gpu.size_bytes,
        power_limit_mw=gpu.limit_mw,
        uuid=gpu.uuid,
        model=gpu.model,
    )
