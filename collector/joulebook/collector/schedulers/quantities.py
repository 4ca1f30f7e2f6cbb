"""What pods ask for: Kubernetes' quantities, and what those of containers come to.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/, and for containers one after
the other and beside each other https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_QUANTITY = re.compile(
    r"\+?(?P<whole>[0-9]{0,19})(?:\.(?P<rest>[0-9]{0,19}))?"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?\Z"
)
_TENS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# No store keeps more of anything.
_MOST = 1 << 50


def thousandths(quantity: str) -> int:
    """Return a quantity such as 500m, 1.5Gi or 1e3 in thousandths, rounded up. Raises ValueError."""
    found = _QUANTITY.match(quantity)
    if found is None or not (found["whole"] or found["rest"]):
        raise ValueError(f"{quantity[:100]!r}: expected a quantity like 500m or 1.5Gi")
    rest, suffix = found["rest"] or "", found["suffix"] or ""
    tens = 3 - len(rest) + int(found["exponent"] or _TENS.get(suffix, 0))
    amount = int(found["whole"] + rest) << _BINARY.get(suffix, 0)
    up, down = 10 ** max(tens, 0), 10 ** max(-tens, 0)
    scaled: int = -(-amount * up // down)
    return min(scaled, _MOST * 1000)


def requested(
    containers: Iterable[Mapping[str, str]],
    before: Iterable[tuple[Mapping[str, str], bool]] = (),
    *,
    pod: Mapping[str, str] | None = None,
    overhead: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Return what is reserved for a pod, in thousandths by resource. Raises ValueError.

    before has the containers that start before the others, in order, and of each whether it goes on beside
    them; the others of these run alone, one after the other. pod is what was asked for the pod as a whole:
    that counts instead. overhead comes to it.
    """
    beside: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for asked, goes_on in before:
        now = beside + _counted(asked)
        most |= now
        if goes_on:
            beside = now
    together = beside.copy()
    for asked in containers:
        together += _counted(asked)
    reserved = most | together
    reserved.update({name: count - reserved[name] for name, count in _counted(pod or {}).items()})
    reserved.update(_counted(overhead or {}))
    return dict(reserved)


def _counted(asked: Mapping[str, str]) -> Counter[str]:
    return Counter({name: thousandths(quantity) for name, quantity in asked.items()})
