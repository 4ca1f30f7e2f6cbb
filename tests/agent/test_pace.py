"""No more pass than the pace allows, and none waits without need."""

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.agent.pace import Pace


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 10), max_size=50),
    st.floats(0.5, 100),
    st.integers(1, 64),
    st.floats(0, 1e7),
)
def test_pace(rests_s: list[float], per_s: float, burst: int, began_s: float) -> None:
    """Over any time at most burst and per_s × time pass; whoever waits as long as told may pass."""
    now_s = began_s
    pace = Pace(per_s, burst, lambda: now_s)
    passed = 0
    for rest_s in rests_s:
        now_s += rest_s
        while not pace.wait_s():
            pace.take()
            passed += 1
        # Each may be a µs early.
        assert passed <= burst + (now_s - began_s + 1e-6 * (passed + 1)) * per_s
        now_s += pace.wait_s()
        assert not pace.wait_s()
