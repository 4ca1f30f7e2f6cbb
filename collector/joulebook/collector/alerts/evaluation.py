"""Judges what was booked, on and on: the one owner of alerts while a collector runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from joulebook.collector.alerts.alert import Alert, Rule, State
from joulebook.collector.alerts.balance import Balance
from joulebook.collector.alerts.conditions import Conditions, Seen
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.episodes import Episodes
from joulebook.collector.alerts.rules import rules
from joulebook.collector.alerts.silence import Silence
from joulebook.collector.alerts.store import AlertStore, AlertStoreError
from joulebook.collector.ingest.decode import Decoded
from joulebook.collector.ingest.stats import IngestStats
from joulebook.collector.ledger.book import Books
from joulebook.collector.store.protocol import Store, StoreError

_log = logging.getLogger(__name__)


class Evaluation:
    """An AlertBook. Takes in Reports as they are booked, and judges every few seconds what they said.

    changed is called, from any thread, when something began to fire or was resolved. To make one raises
    AlertStoreError or StoreError.
    """

    def __init__(
        self,
        store: Store,
        kept: AlertStore,
        config: AlertsConfig,
        stats: IngestStats,
        clock: Callable[[], int],
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._kept = kept
        self._config = config
        self._stats = stats
        self._clock = clock
        self._changed = changed
        self._began_us = clock()
        self._rules = rules(config)
        self._conditions = Conditions(config, {rule.name for rule in self._rules})
        loaded = kept.load()
        self._resolved = {a.id: a for a in loaded if a.state is State.RESOLVED}
        self._episodes = Episodes(self._rules, [a for a in loaded if a.state is not State.RESOLVED])
        self._silence = Silence(store, config, self._began_us)
        self._balance = Balance(store, config, self._began_us)
        self._seen: list[Seen] = []
        self._taking = threading.Lock()
        self._shown: tuple[Alert, ...] = ()
        self._complained: set[str] = set()
        self._show()

    def rules(self) -> Sequence[Rule]:
        """Return the rules in force."""
        return self._rules

    def alerts(self) -> Sequence[Alert]:
        """Return pending and firing alerts, and those resolved that are still kept, newest first."""
        return self._shown

    def booked(self, reports: Sequence[Decoded], books: Books) -> None:
        """Take in Reports that were booked just now, and are durable. May be called from any thread."""
        try:
            seen = self._conditions.seen(reports, books)
        except Exception:
            _log.exception("alerts: Reports could not be judged; they are booked all the same")
            return
        with self._taking:
            self._seen += seen

    async def run(self) -> None:
        """Judge until cancelled, and once more then: what was taken in is kept."""
        try:
            while True:
                await asyncio.sleep(self._config.evaluate_s)
                # A thread cannot be cancelled: what is under way is waited for.
                judging = asyncio.ensure_future(asyncio.to_thread(self._evaluate_safely))
                try:
                    await asyncio.shield(judging)
                except asyncio.CancelledError:
                    await judging
                    raise
        finally:
            self._evaluate_safely()

    def _evaluate_safely(self) -> None:
        """Judge, but let no fault of the alerts harm the books."""
        try:
            self.evaluate()
        except Exception:
            _log.exception("alerts could not be judged")

    def evaluate(self) -> None:
        """Judge everything that was taken in since the last time, and keep what became of it."""
        now_us = self._clock()
        with self._taking:
            seen, self._seen = self._seen, []
        before = self._states()
        for one in seen:
            self._episodes.see(one)
        self._episodes.forget_unwatched(now_us, self._began_us)
        self._ask(
            "silent agents", lambda: self._silence.judge(dict(self._stats.heard_us), self._episodes, now_us)
        )
        self._ask(
            "whether the books balance",
            lambda: self._balance.judge(self._stats.residual_uj, self._episodes, now_us),
        )
        self._keep(now_us)
        self._show()
        if self._states() != before:
            self._changed()

    def _states(self) -> dict[str, State]:
        return {alert.id: alert.state for alert in self._shown if alert.state is not State.PENDING}

    def _ask(self, what: str, ask: Callable[[], None]) -> None:
        """Do what needs the store's answers; without them nothing is said about it either way."""
        try:
            ask()
        except StoreError as error:
            self._complain(what, f"{what} cannot be judged: {error}")
        else:
            self._complained.discard(what)

    def _keep(self, now_us: int) -> None:
        episodes = self._episodes
        forget_us = now_us - round(self._config.keep_days * 86_400e6)
        for id_, alert in episodes.changed.items():
            if alert.state is State.RESOLVED:
                self._resolved[id_] = alert
        self._resolved = {i: a for i, a in self._resolved.items() if (a.resolved_us or 0) >= forget_us}
        try:
            self._kept.save(list(episodes.changed.values()), episodes.ended, forget_us)
        except AlertStoreError as error:
            # They stay among the changed ones and are kept the next time.
            self._complain("keeping", f"{error}; alerts are shown and sent, but a restart would forget them")
            return
        self._complained.discard("keeping")
        episodes.changed.clear()
        episodes.ended.clear()

    def _complain(self, what: str, message: str) -> None:
        if what not in self._complained:
            self._complained.add(what)
            _log.error("%s", message)

    def _show(self) -> None:
        every = [*self._episodes.alerts(), *self._resolved.values()]
        self._shown = tuple(sorted(every, key=lambda a: (-a.since_us, a.id)))
