"""Nothing is counted twice, and nothing in a container goes missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.ledger.domains import (
    UnknownDomainError,
    class_of,
    root_energy_uj,
    settle,
)
from joulebook.v1.containment import depths_of, parents_of


@pytest.mark.parametrize(
    ("drawn", "root"),
    [
        ({"cpu.0": 5, "memory.0": 2}, 7),
        ({"cpu.0": 5, "core.0": 4, "uncore.0": 1}, 5),
        ({"psys": 9, "cpu.0": 5}, 9),
        ({"psys": 9, "cpu.0": 5, "gpu.0": 7}, 16),
        ({"node": 20, "cpu.0": 5, "gpu.0": 7}, 20),
        ({"node": 10, "cpu.0": 5, "gpu.0": 7}, 12),
        ({"module.0": 15, "cpu.0": 5, "gpu.0": 7}, 15),
        ({"module.0": 11, "cpu.0": 5, "gpu.0": 7, "gpu.1": 3}, 15),
        ({"node": 30, "psys": 12, "module.0": 11, "cpu.0": 5, "gpu.0": 7, "memory.0": 2}, 30),
        ({"node": 13, "psys": 1, "module.0": 11, "cpu.0": 5, "gpu.0": 7, "memory.0": 2}, 14),
    ],
)
def test_the_root_holds_each_part_once(drawn: dict[str, int], root: int) -> None:
    """A container counts for its parts, and for at least as much as they are together."""
    energy = np.array([[v] for v in drawn.values()])
    assert root_energy_uj(energy, list(drawn)).tolist() == [root]


NAMES = ["node", "psys", "module.0", "module.1", "cpu.0", "cpu.1", "gpu.0", "gpu.1", "memory.0", "core.0"]


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.integers(0, 10**9), min_size=3, max_size=3)))
def test_settling_adds_up_to_the_root(drawn: dict[str, list[int]]) -> None:
    """What each domain keeps for itself is never negative and adds up to the root, in every tick."""
    names = list(drawn)
    energy = np.array(list(drawn.values()), dtype=np.int64).reshape(len(names), 3)
    parents = np.array(parents_of(names), dtype=np.int64)
    booked = np.array([class_of(n) >= 0 for n in names], dtype=bool)
    own, raised = settle(energy, parents, np.array(depths_of(parents.tolist()), dtype=np.int64), booked)
    assert (own >= 0).all()
    assert (raised >= 0).all()
    assert own.sum(axis=0).tolist() == root_energy_uj(energy, names).tolist()


def test_an_unknown_domain_is_refused() -> None:
    """A name outside the containment tree is refused: nobody knows what it would be counted twice with."""
    with pytest.raises(UnknownDomainError, match=r"fan\.0"):
        class_of("fan.0")
