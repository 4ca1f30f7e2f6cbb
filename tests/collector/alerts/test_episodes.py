"""The life of alerts, against a model that adds up second by second."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.collector.alerts.alert import Alert, Key, State
from joulebook.collector.alerts.conditions import Condition, Seen
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.episodes import GAP_LIMIT_US, Episodes
from joulebook.collector.alerts.names import AGENT_SILENT, GPU_HELD_IDLE, RESIDUAL_NOT_ZERO
from joulebook.collector.alerts.rules import rules

_S = 1_000_000
_T0 = 1_790_000_000 * _S
_REPORT_US = 10 * _S
_FOR_US = 900 * _S
_KEY = Key(GPU_HELD_IDLE, (("gpu", "gpu.0"), ("job", "slurm.42"), ("node", "n1")))
_SILENT = Key(AGENT_SILENT, (("node", "n1"),))
_RULES = rules(AlertsConfig())
IDLE, BUSY, UNKNOWN, RELEASED, MISSING = "idle", "busy", "unknown", "released", "missing"


def _seen(number: int, what: str, *, wasted_uj: int = 600, user: str = "") -> Seen:
    """Return what the Report of a place in time says of the GPU."""
    start_us = _T0 + number * _REPORT_US
    holds = {_KEY: Condition(_REPORT_US, wasted_uj, {"power_mw": number})} if what == IDLE else {}
    return Seen(
        "n1",
        start_us,
        start_us + _REPORT_US,
        frozenset() if what == RELEASED else frozenset([_KEY]),
        holds,
        frozenset([_KEY]) if what == BUSY else frozenset(),
        {"slurm.42": user} if user else {},
    )


def _told(what: Sequence[str]) -> Episodes:
    episodes = Episodes(_RULES)
    for number, one in enumerate(what):
        if one != MISSING:
            episodes.see(_seen(number, one))
    return episodes


def _now(episodes: Episodes) -> Alert:
    (alert,) = episodes.alerts()
    return alert


def test_life() -> None:
    """It is pending from the first idle Report, fires after the rule's time, and is resolved by use."""
    episodes = _told([IDLE] * 89)
    assert (_now(episodes).state, _now(episodes).since_us) == (State.PENDING, _T0)
    episodes.see(_seen(89, IDLE))
    fired_us = _T0 + _FOR_US
    assert (_now(episodes).state, _now(episodes).firing_us) == (State.FIRING, fired_us)
    assert _now(episodes).wasted_uj == 90 * 600
    episodes.see(_seen(90, IDLE))
    episodes.see(_seen(91, BUSY))
    assert episodes.alerts() == []
    (ended,) = episodes.changed.values()
    assert (ended.state, ended.resolution) == (State.RESOLVED, "in use again")
    assert (ended.since_us, ended.firing_us, ended.resolved_us) == (_T0, fired_us, _T0 + 91 * _REPORT_US)
    assert (ended.wasted_uj, ended.observed_us) == (91 * 600, 91 * _REPORT_US)


def test_pending_that_ends_was_none() -> None:
    """Use before the rule's time leaves nothing behind, and what idles again begins anew."""
    episodes = _told([*[IDLE] * 89, BUSY, *[IDLE] * 89])
    assert (_now(episodes).state, _now(episodes).since_us) == (State.PENDING, _T0 + 90 * _REPORT_US)
    assert set(episodes.changed) == {_now(episodes).id}
    assert len(episodes.ended) == 1


def test_gap_is_not_idleness() -> None:
    """A gap adds nothing to the idle time, and after a long one nobody knows whether it idled on."""
    within = GAP_LIMIT_US // _REPORT_US
    episodes = _told([*[IDLE] * 80, *[MISSING] * within, *[IDLE] * 9])
    assert (_now(episodes).state, _now(episodes).observed_us) == (State.PENDING, 89 * _REPORT_US)
    episodes = _told([*[IDLE] * 80, *[MISSING] * (within + 1), *[IDLE] * 9])
    assert (_now(episodes).state, _now(episodes).observed_us) == (State.PENDING, 9 * _REPORT_US)


def test_nothing_known_is_like_a_gap() -> None:
    """Reports that cannot tell carry an alert neither on nor away."""
    episodes = _told([*[IDLE] * 90, *[UNKNOWN] * 5])
    assert (_now(episodes).state, _now(episodes).observed_us) == (State.FIRING, 90 * _REPORT_US)


def test_unwatched_subject_is_forgotten() -> None:
    """What fires is resolved when nobody has watched it for long, unless that was this collector's doing."""
    episodes = _told([IDLE] * 90)
    seen_us = _now(episodes).seen_us
    later_us = seen_us + GAP_LIMIT_US + 1
    episodes.forget_unwatched(later_us, later_us - _S)
    episodes.forget_unwatched(seen_us + GAP_LIMIT_US, 0)
    assert _now(episodes).state is State.FIRING
    episodes.forget_unwatched(later_us, 0)
    (ended,) = episodes.changed.values()
    assert (ended.state, ended.resolution, ended.resolved_us) == (State.RESOLVED, "no data", seen_us)


def test_released() -> None:
    """A GPU that its job gave back is no longer held idle."""
    episodes = _told([*[IDLE] * 90, RELEASED])
    (ended,) = episodes.changed.values()
    assert (ended.state, ended.resolution) == (State.RESOLVED, "released")


def test_late_user() -> None:
    """A user who is told of late is named from then on; it stays the same alert."""
    episodes = _told([IDLE])
    before = _now(episodes)
    episodes.see(_seen(1, IDLE, user="ada"))
    assert _now(episodes).labels["user"] == "ada"
    assert (_now(episodes).id, _now(episodes).fingerprint) == (before.id, before.fingerprint)


@given(st.lists(st.sampled_from([IDLE, IDLE, IDLE, BUSY, MISSING]), max_size=40), st.randoms())
def test_never_more_than_was_seen(what: list[str], random: object) -> None:
    """In whatever order Reports come, no alert claims more idle time or joules than there were."""
    order = [n for n, one in enumerate(what) if one != MISSING]
    random.shuffle(order)  # type: ignore[attr-defined]
    episodes = Episodes([replace(rule, for_us=5 * _REPORT_US) for rule in _RULES])
    for number in order:
        episodes.see(_seen(number, what[number]))
    claimed = [*episodes.alerts(), *(a for a in episodes.changed.values() if a.state is State.RESOLVED)]
    idle = what.count(IDLE)
    assert sum(alert.observed_us for alert in claimed) <= idle * _REPORT_US
    assert sum(alert.wasted_uj or 0 for alert in claimed) <= idle * 600
    for alert in claimed:
        assert alert.state is State.PENDING or alert.observed_us >= 5 * _REPORT_US
        assert alert.since_us + alert.observed_us <= alert.seen_us


@given(st.lists(st.sampled_from([IDLE, IDLE, IDLE, IDLE, BUSY]), max_size=60))
def test_in_order_it_is_exact(what: list[str]) -> None:
    """In order, an alert fires if and only if the newest run of idle Reports is as long as the rule says."""
    episodes = Episodes([replace(rule, for_us=5 * _REPORT_US) for rule in _RULES])
    run = 0
    for number, one in enumerate(what):
        episodes.see(_seen(number, one))
        run = run + 1 if one == IDLE else 0
        states = [(a.state, a.observed_us, a.wasted_uj) for a in episodes.alerts()]
        state = State.FIRING if run >= 5 else State.PENDING
        assert states == ([(state, run * _REPORT_US, run * 600)] if run else [])


def test_late_use_interrupts_what_is_pending() -> None:
    """A late Report of use has a pending alert begin after it, and count from nothing."""
    episodes = _told([*[IDLE] * 10, MISSING, *[IDLE] * 10])
    episodes.see(_seen(10, BUSY))
    assert (_now(episodes).since_us, _now(episodes).observed_us) == (_T0 + 11 * _REPORT_US, 0)


def test_standing_condition() -> None:
    """What stands by the clock fires after its time, at once where a rule has none; its cost is unknown."""
    episodes = Episodes(_RULES)
    episodes.stand(_SILENT, _T0, _T0 + 60 * _S, {})
    assert (_now(episodes).state, _now(episodes).wasted_uj) == (State.PENDING, None)
    episodes.stand(_SILENT, _T0, _T0 + 120 * _S, {})
    assert (_now(episodes).state, _now(episodes).observed_us) == (State.FIRING, 120 * _S)
    episodes.clear(_SILENT, _T0 + 130 * _S, "heard again")
    assert episodes.alerts() == []
    episodes.stand(Key(RESIDUAL_NOT_ZERO, (("node", "n1"),)), _T0, _T0, {"residual_uj": 1})
    assert _now(episodes).state is State.FIRING


def test_rule_that_went() -> None:
    """An alert of a rule that is no longer watched is resolved when it is loaded."""
    alert = _now(_told([IDLE] * 90))
    episodes = Episodes(rules(AlertsConfig(disabled=[GPU_HELD_IDLE])), [alert])
    assert episodes.alerts() == []
    (ended,) = episodes.changed.values()
    assert (ended.state, ended.resolution) == (State.RESOLVED, "the rule is no longer watched")


@pytest.mark.parametrize("reports", [30, 90])
def test_carries_on_after_a_restart(reports: int) -> None:
    """What was loaded goes on as if nothing had been: the same id, and everything adds up."""
    whole = _now(_told([IDLE] * 100))
    episodes = Episodes(_RULES, [_now(_told([IDLE] * reports))])
    for number in range(reports, 100):
        episodes.see(_seen(number, IDLE))
    assert _now(episodes) == whole
