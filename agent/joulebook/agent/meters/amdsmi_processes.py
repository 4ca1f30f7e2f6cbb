"""The processes on one AMD GPU: amdsmi_get_gpu_process_list, of each of its partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from joulebook.agent.meters.amd_processes import WHOLE_PPM
from joulebook.agent.meters.amdsmi_codes import there, translated
from joulebook.agent.meters.amdsmi_library import Processor
from joulebook.agent.meters.codes import UnsupportedError


class Processes:
    """Who is on a GPU, and how much of it each uses.

    A process is on it while it has memory there, occupies compute units or used its engines since the last
    look. Its share is what it occupies of the compute units, or the time for which the engines worked for it,
    whichever is more: compute queues occupy units, drawing and video take engines.
    """

    def __init__(self, amdsmi: Any, processors: Sequence[Processor], compute_units: int) -> None:
        """compute_units: those of one processor; 0: not known."""
        self.amdsmi = amdsmi
        self._processors = tuple(processors)
        self._units = compute_units
        # By process: the engines' time at the last look, in ns.
        self._engine_ns: Counter[int] = Counter()
        self._looked_us = -1

    def running(self, now_us: int) -> dict[int, int]:
        """Return the processes and their shares of the whole GPU in ppm; 0: not told.

        DriverError: one of its partitions does not tell.
        """
        memory: Counter[int] = Counter()
        occupied: Counter[int] = Counter()
        engine_ns: Counter[int] = Counter()
        for processor in self._processors:
            for told in self._on(processor.handle):
                pid = int(told["pid"])
                memory[pid] += _or_zero(told["memory_usage"].get("vram_mem")) or _or_zero(told["mem"])
                occupied[pid] += self._occupied_ppm(told) // len(self._processors)
                engine_ns[pid] += sum(_or_zero(told["engine_usage"].get(name)) for name in ("gfx", "enc"))
        elapsed_ns = (now_us - self._looked_us) * 1000 if self._looked_us >= 0 else 0
        shares: dict[int, int] = {}
        for pid in memory:
            grown_ns = engine_ns[pid] - self._engine_ns.get(pid, engine_ns[pid])
            busy_ppm = grown_ns * WHOLE_PPM // elapsed_ns if elapsed_ns > 0 and grown_ns > 0 else 0
            if pid and (memory[pid] or occupied[pid] or busy_ppm):
                shares[pid] = min(max(occupied[pid], busy_ppm), WHOLE_PPM)
        if now_us != self._looked_us:
            self._engine_ns, self._looked_us = engine_ns, now_us
        return shares

    @translated
    def _on(self, handle: Any) -> list[dict[str, Any]]:
        return list(self.amdsmi.amdsmi_get_gpu_process_list(handle))

    def _occupied_ppm(self, told: dict[str, Any]) -> int:
        units = _or_zero(told.get("cu_occupancy"))
        return min(units * WHOLE_PPM // self._units, WHOLE_PPM) if self._units else 0


def _or_zero(value: Any) -> int:
    try:
        return there(value, 32, 64)
    except UnsupportedError:
        return 0
