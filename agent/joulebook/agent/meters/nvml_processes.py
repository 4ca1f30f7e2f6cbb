"""The processes on one NVIDIA GPU: NVML API Reference Guide, nvmlDeviceGetComputeRunningProcesses and kin."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from joulebook.agent.meters.codes import DriverError, UnsupportedError
from joulebook.agent.meters.nvml_calls import Records
from joulebook.agent.meters.nvml_mig import MigInstance

_WHOLE_PERCENT = 100
_WHOLE_PPM = 1_000_000
_PPM_A_PERCENT = 10_000
_SAMPLE_KEPT_US = 3_000_000
_GRAPHICS_EVERY = 5
# nvmlProcessInfo_t: process, memory, GPU instance, compute instance.
_PROCESS = Struct("=I4xQII")
# nvmlProcessUtilizationSample_t: process, time; shares of multiprocessors, memory, encoder and decoder.
_SAMPLE = Struct("=I4xQIIII")

# Where a process is: the GPU instance and the compute instance, both -1 where the driver does not say.
Place = tuple[int, int]
_NOWHERE: Place = (-1, -1)
_NO_INSTANCE = 2**32 - 1


class Processes:
    """Who is on a GPU, and how much of its multiprocessors each uses."""

    def __init__(self, nvml: Any) -> None:
        self._computes = _listed(nvml, "nvmlDeviceGetComputeRunningProcesses")
        self._draws = _listed(nvml, "nvmlDeviceGetGraphicsRunningProcesses")
        self._utilisation = Records(nvml, _SAMPLE, "nvmlDeviceGetProcessUtilization")
        self._looks = 0
        self._drawing: dict[int, Place] = {}
        self._last_sample = 0
        self._sampled_us = 0
        self._sampled_ppm: dict[int, int] = {}

    def running(
        self, handle: Any, instances: Sequence[MigInstance], active_ppm: Mapping[Place, int], now_us: int
    ) -> dict[int, int]:
        """Return the processes and their shares of the whole GPU's multiprocessors in ppm; 0: not told.

        active_ppm has, of instances that tell it, the share of their own multiprocessors that was active.
        """
        self._looks += 1
        places = _places(self._computes, handle, instances)
        # Those that draw and compute nothing are rare beside those that compute.
        if self._looks % _GRAPHICS_EVERY == 1:
            self._drawing = {}
            with contextlib.suppress(UnsupportedError):
                self._drawing = _places(self._draws, handle, instances)
        places = self._drawing | places
        if not places:
            return {}
        if instances and (shares := _by_instance(places, instances, active_ppm)):
            return shares
        sampled_ppm = self._process_ppm(handle, now_us)
        return {pid: sampled_ppm.get(pid, 0) for pid in places}

    def _process_ppm(self, handle: Any, now_us: int) -> dict[int, int]:
        """Return the last samples: the driver samples at its own pace, so they stand for a while."""
        samples: dict[int, int] = {}
        with contextlib.suppress(UnsupportedError):
            samples = self._samples(handle)
        if samples:
            self._sampled_us, self._sampled_ppm = now_us, samples
        elif now_us - self._sampled_us > _SAMPLE_KEPT_US:
            self._sampled_ppm = {}
        return self._sampled_ppm

    def _samples(self, handle: Any) -> dict[int, int]:
        shares: defaultdict[int, list[int]] = defaultdict(list)
        last = newest = self._last_sample
        for pid, time, share, _, _, _ in self._utilisation.since(handle, last):
            # Some drivers fill the list up with what they showed before, or with nothing.
            if pid and time > last and share <= _WHOLE_PERCENT:
                shares[pid].append(share)
                newest = max(newest, time)
        self._last_sample = newest
        return {pid: sum(each) * _PPM_A_PERCENT // len(each) for pid, each in shares.items()}


def _listed(nvml: Any, name: str) -> Records:
    """Return what asks for processes in the newest form that the driver knows."""
    return Records(nvml, _PROCESS, f"{name}_v3", f"{name}_v2")


def _places(listed: Records, handle: Any, instances: Sequence[MigInstance]) -> dict[int, Place]:
    try:
        return {
            pid: _NOWHERE if _NO_INSTANCE in (of_gpu, of_compute) else (of_gpu, of_compute)
            for pid, _, of_gpu, of_compute in listed.of(handle)
        }
    except DriverError as error:
        # Of a divided GPU the whole list is the administrator's; each instance's own is anyone's.
        if not instances or isinstance(error, UnsupportedError):
            raise
        return {
            pid: (one.gpu_instance, one.compute_instance)
            for one in instances
            for pid, _, _, _ in listed.of(one.handle)
        }


def _by_instance(
    places: Mapping[int, Place], instances: Sequence[MigInstance], active_ppm: Mapping[Place, int]
) -> dict[int, int]:
    """Return each process's share of the GPU by what its instance does, in equal parts within one.

    Nothing where an instance with processes does not tell: it would go short beside those that do.
    """
    share_ppm = {(one.gpu_instance, one.compute_instance): one.share_ppm for one in instances}
    there = Counter(places.values())
    if any(place not in active_ppm or place not in share_ppm for place in there):
        return {}
    return {
        pid: active_ppm[place] * share_ppm[place] // _WHOLE_PPM // there[place]
        for pid, place in places.items()
    }
