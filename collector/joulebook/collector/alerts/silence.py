"""Which nodes have not been heard of."""

from __future__ import annotations

from collections.abc import Mapping

from joulebook.collector.alerts.alert import Key
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.episodes import Episodes
from joulebook.collector.alerts.names import AGENT_SILENT
from joulebook.collector.queries.times import rfc3339
from joulebook.collector.store.protocol import StoreView


class Silence:
    """Watches when each node was last heard of, by this collector's clock or by what the store got since.

    A node counts from when this collector began to listen: it may have been the one that was away.
    """

    def __init__(self, store: StoreView, config: AlertsConfig, since_us: int) -> None:
        self._store = store
        self._for_us = round(config.agent_silent_for_s * 1e6)
        self._forget_us = round(config.agent_silent_forget_days * 86_400e6)
        self._since_us = since_us
        self._stored_us = self._newest_us()
        self._asked_us = since_us

    def judge(self, heard_us: Mapping[str, int], episodes: Episodes, now_us: int) -> None:
        """Begin, carry on and end alerts. Raises StoreError when the store does not answer."""
        # Half of the time is no news. What another collector may have heard costs the store a question.
        half_us = self._for_us // 2
        quiet = self._quiet_us(heard_us, now_us, half_us)
        if quiet and now_us - self._asked_us >= half_us:
            self._stored_us = self._newest_us()
            self._asked_us = now_us
            quiet = self._quiet_us(heard_us, now_us, half_us)
        for node, last_us in quiet.items():
            key = _key(node)
            if now_us - last_us > self._forget_us:
                episodes.clear(key, now_us, "taken for gone")
                continue
            counted_us = max(last_us, self._since_us) if episodes.get(key) is None else last_us
            if now_us - counted_us > half_us:
                episodes.stand(key, counted_us, now_us, {"last_report": rfc3339(last_us)})
        for alert in episodes.alerts():
            if alert.rule == AGENT_SILENT and alert.labels["node"] not in quiet:
                node = alert.labels["node"]
                episodes.clear(alert.key, self._last_us(node, heard_us) or now_us, "heard again")

    def _quiet_us(self, heard_us: Mapping[str, int], now_us: int, for_us: int) -> dict[str, int]:
        """Return when each node that was not heard of for so long last was."""
        known = {node: self._last_us(node, heard_us) for node in {*self._stored_us, *heard_us}}
        return {node: last_us for node, last_us in sorted(known.items()) if now_us - last_us > for_us}

    def _last_us(self, node: str, heard_us: Mapping[str, int]) -> int:
        return max(heard_us.get(node, 0), self._stored_us.get(node, 0))

    def _newest_us(self) -> dict[str, int]:
        return {row.node: row.last_unix_us for row in self._store.nodes()}


def _key(node: str) -> Key:
    return Key(AGENT_SILENT, (("node", node),))
