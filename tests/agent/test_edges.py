"""Time for the edges of jobs is bounded."""

from joulebook.agent.edges import Edges


def test_a_hundredth_of_the_clock_may_be_spent() -> None:
    """What was spent beyond that is waited for; after a long rest no more than a short burst is there."""
    now_s, cpu_s = 0.0, 0.0
    edges = Edges(lambda: now_s, lambda: cpu_s)
    spent_s = 0.0
    for _ in range(100_000):
        now_s += 0.001
        if edges.may_be():
            with edges.spending():
                cpu_s += 0.003
            spent_s += 0.003
    assert 0.99 < spent_s < 1.06
    now_s += 1e6
    edges.may_be()
    with edges.spending():
        cpu_s += 0.05
    assert not edges.may_be()
