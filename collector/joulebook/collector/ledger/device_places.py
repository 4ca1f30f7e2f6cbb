"""Where a layout has GPUs, disks and CPU packages, and who used, held or was confined to which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import STORAGE
from joulebook.collector.ledger.series_rows import SeriesRows
from joulebook.collector.ledger.shared import shared_ints
from joulebook.v1 import metrics_pb2 as metrics
from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]

_WHOLE_PPM = 1_000_000


class DevicePlaces(SeriesRows):
    """A layout's part that is about single devices. What it works by is noted by the layout before."""

    domain_names: tuple[str, ...]
    domain_class: Ints
    domain_booked: npt.NDArray[np.bool_]
    domain_pool: Ints
    workload_account: Ints
    workload_parent: Ints
    disk_io_rows: Ints

    def _place_gpus(self, workloads: Sequence[report_pb2.Workload]) -> None:
        """Note the pools and accounts of GPUs' users and holders; a GPU without energy has no pool."""
        rows = np.flatnonzero(self._metric == metrics.METRIC_WORKLOAD_GPU_UTILISATION)
        pool = self.domain_pool[self._domain[rows] - 1]
        rows, pool = rows[pool >= 0], pool[pool >= 0]
        self.gpu_user_pool = shared_ints(pool)
        self.gpu_user_account = shared_ints(self.workload_account[self._workload[rows] - 1])
        self.gpu_user_row = shared_ints(rows)
        holders = [
            (d - 1, w, ppm)
            for w, workload in enumerate(workloads)
            for d, ppm in zip(
                workload.gpu, workload.gpu_share_ppm or [_WHOLE_PPM] * len(workload.gpu), strict=True
            )
        ]
        holders = [holder for holder in holders if self.domain_pool[holder[0]] >= 0]
        self.gpu_holder_pool = shared_ints([int(self.domain_pool[d]) for d, _, _ in holders])
        self.gpu_holder_account = shared_ints([int(self.workload_account[w]) for _, w, _ in holders])
        self.gpu_holder_ppm = shared_ints([ppm for _, _, ppm in holders])

    def _place_disks(self, message: report_pb2.Layout, told: Ints) -> None:
        """Note the disks, whose bytes each disk's rows are, and who moved some on which.

        A disk is here one of which it is told who moved bytes there, or all of a tier of which it is not.
        What was moved is known of each of the former and of all the latter together: disk_load has the place
        of the one that each disk goes by. Where it is not told of any there are no disks and pairs.
        """
        booked = (self.domain_booked & (self.domain_class == STORAGE) & (len(told) > 0)).tolist()
        alone = np.isin(np.arange(len(booked)), told).tolist()
        keys = [(pool, i if alone[i] else -1) for i, pool in enumerate(self.domain_pool.tolist())]
        disks = sorted({key for key, is_disk in zip(keys, booked, strict=True) if is_disk})
        loads = sorted({load for _, load in disks})
        self.disk_pool = shared_ints([pool for pool, _ in disks])
        self.disk_load = shared_ints([loads.index(load) for _, load in disks])
        disk_of = {key: i for i, key in enumerate(disks)}
        self.domain_disk = shared_ints([disk_of.get(key, -1) for key in keys])
        load_of = [int(self.disk_load[disk]) if disk >= 0 else -1 for disk in self.domain_disk.tolist()]
        place = dict(zip(self.domain_names, load_of, strict=True))
        names = ["", *(f"disk.{device.name}" for device in message.devices)]
        self.disk_io_load = shared_ints(
            [place.get(names[device], -1) for device in self._device[self.disk_io_rows].tolist()]
        )
        rows = np.flatnonzero(self._metric == metrics.METRIC_WORKLOAD_DISK_IO)
        pairs = list(zip((self._workload[rows] - 1).tolist(), (self._domain[rows] - 1).tolist(), strict=True))
        self.disk_pair_row = shared_ints(rows)
        self.disk_pair_workload = shared_ints([workload for workload, _ in pairs])
        self.disk_pair_load = shared_ints([load_of[disk] for _, disk in pairs])
        # The same disk's pair of the nearest workload around that has one.
        places = {pair: i for i, pair in enumerate(pairs)}
        around = []
        for workload, disk in pairs:
            while (workload := int(self.workload_parent[workload])) >= 0 and (workload, disk) not in places:
                pass
            around.append(places.get((workload, disk), -1))
        self.disk_pair_parent = shared_ints(around)

    def _place_packages(
        self, message: report_pb2.Layout, packages: Sequence[int], may_run_on: Sequence[Sequence[int]]
    ) -> None:
        """Note the CPU time of the pools that are packages, and which workload may run on which of them.

        A node without cpusets has one pool for all packages, and no such pairs.
        """
        if not may_run_on:
            packages = [-1] if packages else []
        device = {name.name: i for i, name in enumerate(message.devices, start=1)}
        busy = dict(self._places(metrics.METRIC_DEVICE_CPUS_BUSY, self._device))
        self.package_busy_row = shared_ints(
            [busy.get(device.get(self.domain_names[d], 0), -1) if d >= 0 else -1 for d in packages]
        )
        pairs = [(w, package) for w, on in enumerate(may_run_on) for package in on]
        self.confined_workload = shared_ints([w for w, _ in pairs])
        self.confined_package = shared_ints([package for _, package in pairs])
