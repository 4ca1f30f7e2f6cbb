"""A meter of known truth."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STEP_UJ = 50_003
_STEP_S = 0.005
_RANGE_UJ = 262_143_328_850


class Counter:
    """A RAPL zone in a made-up /sys that counts about 10 W while it runs, and soon wraps."""

    def __init__(self, directory: Path) -> None:
        zone = directory / "class/powercap/intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text(f"{_RANGE_UJ}\n")
        (zone / "constraint_0_max_power_uw").write_text("10000000\n")
        (zone / "constraint_0_power_limit_uw").write_text("10000000\n")
        self._file = os.open(zone / "energy_uj", os.O_RDWR | os.O_CREAT)
        self.delivered_uj = 0
        self._raw_uj = _RANGE_UJ - 3_000_000
        self._step_uj = _STEP_UJ
        self._show()
        self._halt = threading.Event()
        self._stepping = threading.Lock()
        self._thread = threading.Thread(target=self._count)

    def _show(self) -> None:
        # One write of constant length: no reader sees half a number.
        os.pwrite(self._file, f"{self._raw_uj:020d}\n".encode(), 0)

    def _count(self) -> None:
        while not self._halt.wait(_STEP_S):
            with self._stepping:
                self._raw_uj = (self._raw_uj + self._step_uj) % _RANGE_UJ
                self.delivered_uj += self._step_uj
                self._show()

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still while the block runs."""
        with self._stepping:
            yield

    def rest(self) -> None:
        """Go on by next to nothing: what stands still for a minute is not believed."""
        with self._stepping:
            self._step_uj = 1

    def stop(self) -> None:
        """Stand still from now on."""
        self._halt.set()
        self._thread.join()

    def close(self) -> None:
        """Stop and let go of the file."""
        if self._thread.is_alive():
            self.stop()
        os.close(self._file)
