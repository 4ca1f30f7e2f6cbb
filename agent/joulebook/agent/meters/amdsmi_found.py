"""AMD SMI, begun, and every GPU that it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from joulebook.agent.meters.amd_processes import Processes as KfdProcesses
from joulebook.agent.meters.amdsmi_cards import find_cards
from joulebook.agent.meters.amdsmi_codes import FIX_LOG, AmdsmiError
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.amdsmi_library import Processor, load
from joulebook.agent.meters.amdsmi_metered import MeteredGpu
from joulebook.agent.meters.looks import Looks
from joulebook.agent.meters.row import Rows
from joulebook.agent.meters.series import energy_series
from joulebook.agent.source import ABSENT, SUSPECT, UNREADABLE, WORKING, Device, Finding, Probe, Roots
from joulebook.v1 import report_pb2

_NAME = "amdsmi"
_WITHIN = "not booked: part of a processor, which is metered whole"

# The GPUs that were found before, by PCI address without function: their energy goes on, and their names.
Known = Mapping[str, MeteredGpu]


class Found:
    """What there is. AmdsmiError: AMD SMI is not there. Takes as long as the driver does."""

    def __init__(self, roots: Roots, known: Known, hangs_s: float) -> None:
        self._library = load()
        self._is_closed = False
        self._findings: list[Finding] = []
        self.meters: list[MeteredGpu] = []
        try:
            cards = self._cards()
            self._find(roots, cards, known)
        except AmdsmiError:
            self._library.close_quietly()
            raise
        KfdProcesses(roots.sysfs).know(meter.gpu for meter in self.meters)
        self.rows: Rows[MeteredGpu] = Rows(_NAME, self.meters, hangs_s=hangs_s)
        self.looks = Looks(self.meters, self.rows)
        for meter in self.meters:
            meter.gpu.look = partial(self.looks.of, meter)

    @property
    def known(self) -> dict[str, MeteredGpu]:
        """Return the GPUs by PCI address without function."""
        return {meter.gpu.processors[0].card: meter for meter in self.meters}

    def probe(self) -> Probe:
        """Return what there is, as a source tells it."""
        findings = list(self._findings)
        if self.meters:
            findings.insert(0, Finding(_NAME, WORKING))
        elif not findings:
            findings.append(Finding(_NAME, ABSENT, "the amdgpu driver has no GPU"))
        return Probe(
            series=energy_series(meter.gpu.domain for meter in self.meters)
            + tuple(one for meter in self.meters for one in meter.series),
            domains=tuple(meter.domain() for meter in self.meters),
            devices=tuple(device for meter in self.meters for device in _devices(meter)),
            findings=tuple(findings)
            + tuple(
                Finding(f"{_NAME}:{meter.gpu.domain}.counter", SUSPECT, meter.energy.distrust)
                for meter in self.meters
                if meter.energy.distrust
            ),
        )

    def close(self) -> bool:
        """Give AMD SMI back; say whether the driver let it: where it hangs, handles are in use still."""
        if self._is_closed:
            return True
        if not self.rows.close():
            return False
        self._is_closed = True
        self._library.close_quietly()
        return True

    def _cards(self) -> dict[str, list[Processor]]:
        """Return the processors of each GPU: its partitions share its address but for the function."""
        cards: dict[str, list[Processor]] = {}
        for processor in self._library.processors():
            cards.setdefault(processor.card, []).append(processor)
        return cards

    def _find(self, roots: Roots, cards: Mapping[str, Sequence[Processor]], known: Known) -> None:
        names = find_cards(roots)
        # Whoever was found before keeps its name, whatever else comes or goes.
        taken = {meter.gpu.domain for meter in known.values()}
        for card, processors in cards.items():
            if card in names.within:
                self._findings.append(Finding(f"{_NAME}@{processors[0].address}", WORKING, _WITHIN))
                continue
            before = known.get(card)
            domain = before.gpu.domain if before is not None else names.name(card, frozenset(taken))
            taken.add(domain)
            try:
                gpu = AmdsmiGpu(self._library.amdsmi, processors, domain)
                is_same = before is not None and before.gpu.uuid == gpu.uuid
                meter = MeteredGpu(gpu, before if is_same else None)
            except AmdsmiError as error:
                self._findings.append(
                    Finding(f"{_NAME}:{domain}", UNREADABLE, str(error), error.fix or FIX_LOG)
                )
                continue
            self.meters.append(meter)
            modes = " and ".join(mode for mode in gpu.modes() if mode)
            if modes:
                name = f"{_NAME}:{domain}.partitions"
                self._findings.append(Finding(name, WORKING, f"{modes}: {len(processors)} of one GPU"))
        self.meters.sort(key=lambda meter: meter.gpu.index)


def _devices(meter: MeteredGpu) -> tuple[Device, ...]:
    gpu = meter.gpu
    whole = Device(
        gpu.domain,
        report_pb2.DEVICE_KIND_GPU,
        size_bytes=gpu.size_bytes,
        power_limit_mw=gpu.limit_mw,
        uuid=gpu.uuid,
        model=gpu.model,
    )
    return (whole, *meter.gauges.partitions)
