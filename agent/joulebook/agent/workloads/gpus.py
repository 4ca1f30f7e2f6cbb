"""Which workloads use and hold which GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from joulebook.agent.source import UNREADABLE, WORKING, Finding, Series
from joulebook.agent.workloads.gpuholders import GpuHolders, Holder
from joulebook.agent.workloads.podresources import PodResources
from joulebook.agent.workloads.visible import HeldGpu
from joulebook.agent.workloads.workload import Workload
from joulebook.v1 import metrics_pb2

_log = logging.getLogger(__name__)

# Asking a driver takes from a tenth of a millisecond to tens of them, and locks that the work on the GPU
# may need. So the next look comes no sooner than this many times what the last one took: half a percent of
# one CPU, and each tick where the driver is quick.
_PAUSE_FACTOR = 200
_LONGEST_PAUSE_US = 30_000_000
_TURNS = 8


class Gpu(HeldGpu, Protocol):
    """A GPU that can tell its processes."""

    def processes(self, now_us: int) -> dict[int, int]:
        """Return the processes on it and the ppm of its multiprocessors that each used, 0 where not told.

        Raises OSError where the driver does not tell.
        """


class Gpus:
    """Users and holders of the node's GPUs. refresh() each tick, before the workloads are put in order."""

    def __init__(
        self,
        procfs: Path,
        gpus: Callable[[], Sequence[Gpu]],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        pods: PodResources | None = None,
        sysfs: Path = Path("/sys"),
    ) -> None:
        """gpus gives those that there are now, pods what the kubelet allotted."""
        self._procfs, self._sysfs = procfs, sysfs
        self._find = gpus
        self._gpus = gpus()
        self._clock_ns = clock_ns
        self._pods = pods or PodResources("")
        self._holders = self._new_holders()
        self._due_us = 0
        self._turn = 0
        self._workload_of: dict[int, str] = {}
        # Share of a GPU (workload, domain): seen at the last look, and gone since the one before.
        self._seen: dict[tuple[str, str], int] = {}
        self._leaving: dict[tuple[str, str], int] = {}
        self._errors: dict[str, OSError] = {}
        # Of the workloads that there are, those that use a GPU; and the domains that there are.
        self._users: list[tuple[str, str]] = []
        self._domains: frozenset[str] | None = None
        self.series: tuple[Series, ...] = ()

    def _new_holders(self) -> GpuHolders:
        return GpuHolders(self._procfs, self._gpus, self._pods.devices, self._sysfs)

    @property
    def shares_ppm(self) -> dict[tuple[str, str], int]:
        """Return (workload, domain) → share of whoever used a GPU in this interval.

        A process that went was there for a part of it, so it counts once more.
        """
        return self._leaving | self._seen

    def holding(self, workloads: Sequence[Workload]) -> tuple[Workload, ...]:
        """Return the workloads with the GPUs that each holds; parents are set."""
        if not (held := self._holders.held(workloads)):
            return tuple(workloads)
        return tuple(
            replace(each, gpus=held[each.id], gpu_shares_ppm=self._holders.shares(each.id, held[each.id]))
            if each.id in held
            else each
            for each in workloads
        )

    def hurry(self) -> None:
        """Look at the next refresh, whatever the last one took: a command begins or ends."""
        self._due_us = 0

    def refresh(
        self, now_us: int, find: Callable[[int], str], holders: Callable[[], Iterable[Holder]]
    ) -> bool:
        """Look who is there; say whether the set of users or holders changed. find gives a pid's workload."""
        if (gpus := self._find()) != self._gpus:
            self._gpus = gpus
            self._holders = self._new_holders()
            self.hurry()
        if not (self._gpus or self.shares_ppm):
            return False
        self._pods.poll(now_us)
        before = self.shares_ppm.keys()
        self._leaving = {}
        changed = False
        if now_us >= self._due_us:
            began_ns = self._clock_ns()
            earlier, self._seen = self._seen, self._look(now_us, find)
            self._leaving = {key: ppm for key, ppm in earlier.items() if key not in self._seen}
            changed = self._holders.look(holders())
            took_us = (self._clock_ns() - began_ns) // 1000
            self._due_us = now_us + min(took_us * _PAUSE_FACTOR, _LONGEST_PAUSE_US)
        return changed or self.shares_ppm.keys() != before

    def know_domains(self, names: frozenset[str]) -> None:
        """Tell only of GPUs that are among these domains, from now on: one may go before its users do."""
        self._domains = names
        self._choose()

    def arrange(self, workloads: Iterable[Workload]) -> None:
        """Have a series for each user and GPU, of these workloads."""
        if shares_ppm := self.shares_ppm:
            ids = {each.id for each in workloads}
            self._users = [pair for pair in sorted(shares_ppm) if pair[0] in ids]
        else:
            self._users = []
        self._choose()

    def values(self) -> list[int]:
        """Return one value a series."""
        shares_ppm = self.shares_ppm
        return [shares_ppm.get((each.workload, each.domain), 0) for each in self.series]

    def _choose(self) -> None:
        metric, domains = metrics_pb2.METRIC_WORKLOAD_GPU_UTILISATION, self._domains
        self.series = tuple(
            [
                Series(metric, domain=domain, workload=workload)
                for workload, domain in self._users
                if domains is None or domain in domains
            ]
        )

    def findings(self) -> tuple[Finding, ...]:
        """Say what stands in the way of knowing users and holders."""
        if not self._gpus:
            return ()
        failed = [
            Finding(f"workloads.{domain}", UNREADABLE, f"processes: {error}", getattr(error, "fix", ""))
            for domain, error in self._errors.items()
        ]
        return (
            *(failed or [Finding("workloads.gpus", WORKING)]),
            *self._holders.findings(),
            *self._pods.findings(),
        )

    def close(self) -> None:
        """End what asks beside the tick."""
        self._pods.close()

    def _look(self, now_us: int, find: Callable[[int], str]) -> dict[tuple[str, str], int]:
        shares: dict[tuple[str, str], int] = {}
        found: dict[int, str] = {}
        self._turn = (self._turn + 1) % _TURNS
        for gpu in self._gpus:
            try:
                processes = gpu.processes(now_us)
            except OSError as error:
                if gpu.domain not in self._errors:
                    _log.warning("%s: processes: %s; %s", gpu.domain, error, getattr(error, "fix", ""))
                self._errors[gpu.domain] = error
                # Nobody is known to have gone.
                shares |= {key: each for key, each in self._seen.items() if key[1] == gpu.domain}
                continue
            self._errors.pop(gpu.domain, None)
            for pid, ppm in processes.items():
                if pid not in found:
                    known = self._workload_of.get(pid, "")
                    # Processes seldom move, so those that are known are looked up in turns. Gone since the
                    # driver told of it: it was what it was.
                    in_turn = pid % _TURNS == self._turn
                    found[pid] = known if known and not in_turn else find(pid) or known
                if workload := found[pid]:
                    key = (workload, gpu.domain)
                    shares[key] = min(shares.get(key, 0) + ppm, 1_000_000)
        self._workload_of = found
        return shares
