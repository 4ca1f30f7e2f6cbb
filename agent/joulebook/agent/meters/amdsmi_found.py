"""AMD SMI, begun, and every GPU that it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulebook.agent.meters.amd_processes import Processes as KfdProcesses
from joulebook.agent.meters.amdsmi_cards import find_cards
from joulebook.agent.meters.amdsmi_codes import FIX_LOG
from joulebook.agent.meters.amdsmi_gpu import AmdsmiGpu
from joulebook.agent.meters.amdsmi_library import Processor, load
from joulebook.agent.meters.amdsmi_metered import MeteredGpu
from joulebook.agent.meters.codes import DriverError
from joulebook.agent.meters.gpus_found import FoundGpus
from joulebook.agent.meters.looks import Looks
from joulebook.agent.source import UNREADABLE, WORKING, Finding, Roots

_NAME = "amdsmi"
_WITHIN = "not booked: part of a processor, which is metered whole"

# The GPUs that were found before, by PCI address without function: their energy goes on, and their names.
Known = Mapping[str, MeteredGpu]


class Found(FoundGpus[MeteredGpu]):
    """What there is. DriverError: AMD SMI is not there."""

    def __init__(self, roots: Roots, known: Known, hangs_s: float) -> None:
        super().__init__(_NAME, "the amdgpu driver has no GPU")
        self._library = load()
        try:
            self._find(roots, self._cards(), known)
        except DriverError:
            self._library.close_quietly()
            raise
        KfdProcesses(roots.sysfs).know(meter.gpu for meter in self.meters)
        self.begin(hangs_s)
        self.looks = Looks(self.meters, self.rows)

    @property
    def known(self) -> Known:
        """Return the GPUs by PCI address without function."""
        return {meter.gpu.processors[0].card: meter for meter in self.meters}

    def give_back(self) -> None:
        """End AMD SMI."""
        self._library.close_quietly()

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
                self.told.append(Finding(f"{_NAME}@{processors[0].address}", WORKING, _WITHIN))
                continue
            before = known.get(card)
            domain = before.gpu.domain if before is not None else names.name(card, frozenset(taken))
            taken.add(domain)
            try:
                gpu = AmdsmiGpu(self._library.amdsmi, processors, domain)
                is_same = before is not None and before.gpu.uuid == gpu.uuid
                meter = MeteredGpu(gpu, before if is_same else None)
            except DriverError as error:
                self.told.append(Finding(f"{_NAME}:{domain}", UNREADABLE, str(error), error.fix or FIX_LOG))
                continue
            self.meters.append(meter)
            modes = " and ".join(mode for mode in gpu.modes() if mode)
            if modes:
                name = f"{_NAME}:{domain}.partitions"
                self.told.append(Finding(name, WORKING, f"{modes}: {len(processors)} of one GPU"))
        self.meters.sort(key=lambda meter: meter.gpu.index)
