"""Whether the books of each node balance, checked again and again against the raw readings."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.collector.alerts.alert import Evidence, Key
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.episodes import Episodes
from joulebook.collector.alerts.names import RESIDUAL_NOT_ZERO
from joulebook.collector.queries.audit import residuals_uj
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.protocol import Range, Store

_HOUR_US = 3_600_000_000
# By then nearly all Reports have come. What comes later is checked when it is booked, and by /ledger.
_SETTLED_US = 60_000_000


@dataclass(frozen=True, slots=True)
class _Fault:
    from_us: int
    to_us: int
    residual_uj: int


class Balance:
    """Checks what came since the last check."""

    def __init__(self, store: Store, config: AlertsConfig, now_us: int) -> None:
        self._store = store
        self._every_us = round(config.audit_s * 1e6)
        self._began_us = now_us
        # Up to where the books are checked, and when the next check is due.
        self._checked_us = now_us - _SETTLED_US
        self._due_us = now_us + self._every_us
        self._faults: dict[str, _Fault] = {}
        self._booked_residual_uj = 0

    def judge(self, booked_residual_uj: int, episodes: Episodes, now_us: int) -> None:
        """Begin, carry on and end alerts. Raises StoreError when the store does not answer.

        booked_residual_uj is what this collector found itself off by when it booked: any change of it has
        all of the last hour checked at once.
        """
        if booked_residual_uj != self._booked_residual_uj:
            self._check(now_us - _HOUR_US, now_us)
            self._booked_residual_uj = booked_residual_uj
        elif now_us >= self._due_us:
            self._check(self._checked_us, now_us - _SETTLED_US)
            self._checked_us = now_us - _SETTLED_US
        else:
            return
        self._due_us = now_us + self._every_us
        self._faults = {n: f for n, f in self._faults.items() if now_us - f.to_us < _HOUR_US}
        for node, fault in self._faults.items():
            evidence: Evidence = {
                "residual_uj": fault.residual_uj,
                "from": rfc3339(fault.from_us),
                "to": rfc3339(fault.to_us),
            }
            episodes.stand(Key(RESIDUAL_NOT_ZERO, (("node", node),)), fault.from_us, now_us, evidence)
        if now_us - self._began_us < _HOUR_US:
            # What an earlier collector found may still be there.
            return
        for alert in episodes.alerts():
            if alert.rule == RESIDUAL_NOT_ZERO and alert.labels["node"] not in self._faults:
                episodes.clear(alert.key, now_us, "balanced for an hour")

    def _check(self, from_us: int, to_us: int) -> None:
        for node, residual_uj in residuals_uj(self._store, Range(from_us, to_us)).items():
            self._faults[node] = _Fault(from_us, to_us, residual_uj)
