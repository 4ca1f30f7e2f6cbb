"""Energy between two Reports that do not meet: measured, but nobody was watching.

A hardware counter runs on while the agent is down, and a Report that is late or lost leaves its neighbours'
readings behind. What passed between them is booked to `unattributed`. The gaps of a node are a function of
the set of its Reports alone, so that the order in which they arrive cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulebook.collector.ledger.domains import CLASSES, settle
from joulebook.collector.ledger.layout import NodeLayout
from joulebook.v1 import report_pb2

Ints = npt.NDArray[np.int64]

# A counter's two readings may each be up to one update period off their time.
_SLACK_US = 200_000


@dataclass(frozen=True, slots=True)
class Edge:
    """The readings of every domain's energy at one end of a Report, on the node's boot clock."""

    layout: NodeLayout
    at_us: int
    energy_uj: Ints


@dataclass(frozen=True, slots=True)
class Gap:
    """What passed between two Reports: energy by class (6), and the share of domains that is not known."""

    start_us: int
    end_us: int
    by_class_uj: Ints
    raised_uj: int
    missing_ppm: int


def gap_between(last: Edge, following: Edge) -> Gap | None:
    """Return what passed between one Report's end and the next one's start; None: nothing can have."""
    if (
        last.at_us == following.at_us
        and last.layout.hash == following.layout.hash
        and last.energy_uj.tobytes() == following.energy_uj.tobytes()
    ):
        return None
    booked = np.flatnonzero(following.layout.domain_booked).tolist()
    names = following.layout.domain_names
    known = np.zeros((len(names), 1), dtype=np.int64)
    missing = 0
    for i in booked:
        delta = _delta_uj(last, following, i)
        if delta is None:
            missing += 1
        else:
            known[i] = delta
    if following.at_us == last.at_us and not known.any():
        return None
    layout = following.layout
    own, raised = settle(known, layout.domain_parent, layout.domain_depth, layout.domain_booked)
    by_class = np.zeros(len(CLASSES), dtype=np.int64)
    np.add.at(by_class, np.maximum(layout.domain_class, 0), np.where(layout.domain_class >= 0, own[:, 0], 0))
    return Gap(
        start_us=last.at_us,
        end_us=following.at_us,
        by_class_uj=by_class,
        raised_uj=int(raised.sum()),
        missing_ppm=1_000_000 * missing // max(len(booked), 1),
    )


def _delta_uj(last: Edge, following: Edge, place: int) -> int | None:
    """Return one domain's energy over the gap; None where it cannot be told."""
    domain = following.layout.message.domains[place]
    try:
        before = last.layout.domain_names.index(domain.name)
    except ValueError:
        return None
    earlier = last.layout.message.domains[before]
    if earlier.source != domain.source or not last.layout.domain_booked[before]:
        return None
    elapsed_us = following.at_us - last.at_us
    most_uj = domain.limit_mw * (elapsed_us + _SLACK_US) // 1000
    first, second = int(last.energy_uj[before]), int(following.energy_uj[place])
    if last.layout.session_us == following.layout.session_us:
        delta = second - first
    elif domain.kind == report_pb2.SOURCE_KIND_COUNTER:
        # The agent began anew: only what the hardware itself showed can be compared.
        delta = (second - domain.offset_uj) - (first - earlier.offset_uj)
        if domain.range_uj:
            delta %= domain.range_uj
            if not domain.limit_mw or most_uj >= domain.range_uj:
                return None
    else:
        return None
    if delta < 0 or (domain.limit_mw and delta > most_uj):
        return None
    return delta
