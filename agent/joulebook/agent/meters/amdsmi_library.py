"""AMD SMI, begun: its bindings (PyPI amdsmi) and the processors that it tells of (amdsmi.h)."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulebook.agent.meters.amdsmi_codes import translated
from joulebook.agent.meters.codes import DriverError

_LIBRARY = "libamd_smi.so"
_FIX_BINDINGS = "pip install 'joulebook[amd]'"
_FIX_LIBRARY = "install AMD SMI of the ROCm release that is used (package amd-smi-lib)"
_ADDRESS = re.compile(r"([0-9a-f]{4,12}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
# The library's major version says which structures it has, and changes with them. Bindings from PyPI are
# numbered as the ROCm release that they are of, those within ROCm as the library.
_FIRST_LIBRARY_MAJOR = 23
# ROCm 6 had libraries of the majors 23 to 25.
_ROCM_OF_MAJOR = {23: 6, 24: 6, 25: 6, 26: 7}


class MissingError(DriverError):
    """AMD SMI is not installed: the driver's files can be read without it."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A GPU, or a partition of one: how AMD SMI knows it, and its PCI address."""

    handle: Any
    address: str

    @property
    def card(self) -> str:
        """Return the address without its function: partitions of one GPU share it."""
        return self.address.rpartition(".")[0]


def load() -> Library:
    """Begin AMD SMI. DriverError: the bindings, the library or the driver are not there, or do not match."""
    if "amdsmi" not in sys.modules:
        bindings = importlib.util.find_spec("amdsmi")
        if bindings is None:
            raise MissingError("the Python bindings of AMD SMI are not installed", _FIX_BINDINGS)
        # The bindings print to standard output where they do not find the library, and then fail.
        _find_library(Path(bindings.origin or "").parent)
    try:
        import amdsmi  # noqa: PLC0415  (only where there is a GPU is it needed)
    except Exception as error:  # it looks for every function by name, and fails in many ways
        reason = f"{_LIBRARY} and its Python bindings are of different releases: {error}"
        raise DriverError(reason, _FIX_LIBRARY) from error
    return Library(amdsmi)


def _find_library(bindings: Path) -> None:
    """Look for the library where the bindings do."""
    broken: OSError | None = None
    for place in _places(bindings):
        try:
            ctypes.CDLL(place)
        except OSError as error:
            if f"{place}: cannot open" not in str(error):
                broken = error
        else:
            return
    if broken is not None:
        raise DriverError(f"{_LIBRARY} cannot be loaded: {broken}", _FIX_LIBRARY) from broken
    raise MissingError(f"{_LIBRARY} was not found", _FIX_LIBRARY)


def _places(bindings: Path) -> Iterator[str]:
    if rocm := os.environ.get("ROCM_HOME", os.environ.get("ROCM_PATH", "")):
        yield f"{rocm}/lib/{_LIBRARY}"
    yield _LIBRARY
    yield f"{bindings}/{_LIBRARY}"
    yield f"{os.environ.get('ROCM_PATH', '/opt/rocm')}/lib/{_LIBRARY}"


class Library:
    """AMD SMI, begun. close() ends it."""

    def __init__(self, amdsmi: Any) -> None:
        """Begin it. DriverError: the driver is not there, or library and bindings do not match."""
        self.amdsmi = amdsmi
        self._begin()
        try:
            self._check()
        except DriverError:
            self.close_quietly()
            raise

    @translated
    def processors(self) -> tuple[Processor, ...]:
        """Return all GPUs and partitions, in the order of their addresses."""
        found = []
        for handle in self.amdsmi.amdsmi_get_processor_handles():
            address = str(self.amdsmi.amdsmi_get_gpu_device_bdf(handle)).lower()
            if _ADDRESS.fullmatch(address):
                found.append(Processor(handle, address))
        return tuple(sorted(found, key=lambda processor: _order(processor.address)))

    @translated
    def close(self) -> None:
        """End it: handles are good for nothing after that."""
        self.amdsmi.amdsmi_shut_down()

    def close_quietly(self) -> None:
        """Do the same; that it cannot be ended is no fault of anybody who could mend it."""
        try:
            self.close()
        except DriverError:
            return

    @translated
    def _begin(self) -> None:
        self.amdsmi.amdsmi_init(self.amdsmi.AmdSmiInitFlags.INIT_AMD_GPUS)

    @translated
    def _check(self) -> None:
        """Refuse a library whose structures are not those of the bindings: it would write beyond them."""
        told = self.amdsmi.amdsmi_get_lib_version()
        major, minor = int(told["major"]), int(told["minor"])
        version = str(getattr(self.amdsmi, "__version__", ""))
        number = re.match(r"[0-9]+", version)
        if number is None:
            return
        release = int(number[0])
        fits = release == major if release >= _FIRST_LIBRARY_MAJOR else release == _ROCM_OF_MAJOR.get(major)
        if not fits:
            raise DriverError(
                f"the Python bindings are of release {version}, {_LIBRARY} of {major}.{minor}",
                "install the bindings of the ROCm release that is used: its share/amd_smi, or "
                f"pip install 'amdsmi=={_ROCM_OF_MAJOR.get(major, 'RELEASE')}.*'",
            )


def _order(address: str) -> tuple[int, ...]:
    match = _ADDRESS.fullmatch(address)
    return tuple(int(part, 16) for part in match.groups()) if match else ()
