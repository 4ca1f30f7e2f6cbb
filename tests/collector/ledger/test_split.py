"""Splits add up to the unit, whatever the weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from joulebook.collector.ledger.split import Ints, split


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Ints, Ints]:
    n, a, t = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    amount = draw(hnp.arrays(np.int64, (n, t), elements=st.integers(0, 10**15)))
    weight = draw(
        hnp.arrays(np.int64, (n, a, t), elements=st.integers(0, draw(st.sampled_from([1, 9, 1 << 50]))))
    )
    return amount, weight


@given(_cases())
def test_shares_are_whole_never_negative_and_add_up(case: tuple[Ints, Ints]) -> None:
    """Every share lies within one unit of its exact part, and the shares add up to the amount."""
    amount, weight = case
    fallback = np.zeros(len(amount), dtype=np.int64)
    shares = split(amount, weight, fallback)
    assert (shares >= 0).all()
    assert (shares.sum(axis=1) == amount).all()
    for i in np.ndindex(amount.shape):
        n, t = i
        weights = [int(w) for w in weight[n, :, t]]
        total = sum(weights)
        if total == 0:
            assert shares[n, 0, t] == amount[i]
            continue
        for share, w in zip(shares[n, :, t].tolist(), weights, strict=True):
            exact = int(amount[i]) * w / total
            # Weights past 2^31 lose their lowest bits.
            slack = 1 + (int(amount[i]) * len(weights) * 2**-30 if total >= 2**31 else 0)
            assert abs(share - exact) <= slack * (1 + 1e-9)


@given(_cases(), st.integers(1, 12))
def test_places_without_weight_change_nothing(case: tuple[Ints, Ints], more: int) -> None:
    """Who is beside others and has no weight receives nothing, and the others what they had."""
    amount, weight = case
    n, a, t = weight.shape
    wide = np.zeros((n, 2 * a + more, t), dtype=np.int64)
    wide[:, 1 : 2 * a : 2] = weight
    fallback = np.full(n, 2 * a, dtype=np.int64)
    shares = split(amount, wide, fallback)
    alone = split(amount, weight, np.zeros(n, dtype=np.int64))
    nobody = ~weight.any(axis=1)
    alone[:, 0][nobody] = 0
    assert (shares[:, 1 : 2 * a : 2] == alone).all()
    assert (shares[:, 2 * a] == np.where(nobody, amount, 0)).all()
    assert (shares.sum(axis=1) == amount).all()


def test_ties_go_to_the_lower_place() -> None:
    """Units left over go to the largest remainders, and to the first of equals."""
    shares = split(np.array([[5]]), np.array([[[1], [1], [1]]]), np.array([0]))
    assert shares[0, :, 0].tolist() == [2, 2, 1]
    shares = split(np.array([[10]]), np.array([[[3], [3], [1]]]), np.array([0]))
    assert shares[0, :, 0].tolist() == [4, 4, 2]


@given(_cases())
def test_units_left_over_go_to_the_largest_remainders(case: tuple[Ints, Ints]) -> None:
    """Whoever has a unit more has no smaller a remainder than who has none, and is before its equals."""
    amount, weight = case
    shares = split(amount, weight, np.zeros(len(amount), dtype=np.int64))
    for n, t in np.ndindex(amount.shape):
        weights = [int(w) for w in weight[n, :, t]]
        total = sum(weights)
        if not 0 < total < 2**31:
            continue
        whole, rest = zip(*(divmod(int(amount[n, t]) * w, total) for w in weights), strict=True)
        left = int(amount[n, t]) - sum(whole)
        first = sorted(range(len(weights)), key=lambda place: (-rest[place], place))[:left]
        assert shares[n, :, t].tolist() == [w + (place in first) for place, w in enumerate(whole)]
