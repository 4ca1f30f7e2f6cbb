"""Arrays of layouts, kept once: nodes of a kind have the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_shared: WeakValueDictionary[tuple[str, bytes], npt.NDArray[Any]] = WeakValueDictionary()


def share(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an equal array that is there already, else this one; nobody may write to it."""
    found = _shared.setdefault((array.dtype.char, array.tobytes()), array)
    found.flags.writeable = False
    return found


def shared_ints(values: Sequence[int] | Ints) -> Ints:
    """Return values as an array that others may have too; nobody may write to it."""
    return share(np.array(values, dtype=np.int64))


class Kind:
    """What Layouts have in common whose Reports mean the same to the ledger but for names of accounts."""

    __slots__ = ("__weakref__", "_arrays")

    def __init__(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        # An array that is kept is the only one with its id.
        self._arrays = arrays


_kinds: WeakValueDictionary[tuple[object, ...], Kind] = WeakValueDictionary()


def kind_of_arrays(key: tuple[object, ...], arrays: Sequence[npt.NDArray[Any]]) -> Kind:
    """Return the kind of a layout of these arrays; key tells all else that its Reports mean."""
    return _kinds.setdefault((*key, *map(id, arrays)), Kind(arrays))
