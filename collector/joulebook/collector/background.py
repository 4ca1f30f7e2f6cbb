"""What a collector does beside taking Reports in and answering questions."""

from __future__ import annotations

from typing import Protocol

from joulebook.collector.api.routes import wall_clock_us
from joulebook.collector.config import CollectorConfig
from joulebook.collector.housekeeping import Housekeeping
from joulebook.collector.schedulers.asking import Asking
from joulebook.collector.schedulers.kubernetes import KubernetesPods
from joulebook.collector.schedulers.slurm import SlurmCommands
from joulebook.collector.schedulers.slurmrest import SlurmRest
from joulebook.collector.schedulers.source import KUBERNETES, SLURM, Source
from joulebook.collector.schedulers.stats import AllStats
from joulebook.collector.store.duckdb import DuckDBStore
from joulebook.collector.store.duckdb.keeper import Keeper, Retention
from joulebook.collector.store.influxdb_address import is_influxdb
from joulebook.collector.store.protocol import Store
from joulebook.collector.store.victoriametrics.address import is_victoriametrics

# Each look counts the Reports of a day, and every collector looks.
_LOOKS_S = 300.0


class Background(Protocol):
    """Runs until it is cancelled; when it is over, nobody works on the store for it."""

    async def run(self) -> None:
        """Do it again and again."""


def background(store: Store, config: CollectorConfig, schedulers: AllStats) -> list[Background]:
    """Return who keeps house in a store, or settles the books in it, and who asks schedulers."""
    found: list[Background] = []
    if isinstance(store, DuckDBStore):
        kept = Retention(
            config.retention_raw_days,
            config.retention_minutes_days,
            config.retention_hours_days,
            config.retention_ledger_days,
        )
        found.append(Housekeeping(Keeper(store, kept, policy=config.policy), wall_clock_us))
    elif is_victoriametrics(config.store):
        # influxdb-client, which it writes through, is an extra.
        from joulebook.collector.store.victoriametrics.settlement import Settlement  # noqa: PLC0415
        from joulebook.collector.store.victoriametrics.store import VictoriaStore  # noqa: PLC0415

        if isinstance(store, VictoriaStore):
            found.append(Housekeeping(Settlement(store, config.policy), wall_clock_us))
    elif is_influxdb(config.store):
        from joulebook.collector.store.influxdb import InfluxStore  # noqa: PLC0415
        from joulebook.collector.store.influxdb_settlement import InfluxSettlement  # noqa: PLC0415

        if isinstance(store, InfluxStore):
            found.append(
                Housekeeping(InfluxSettlement(store, config.policy), wall_clock_us, every_s=_LOOKS_S)
            )
    if config.slurm.period_s:
        source: Source = (
            SlurmRest(config.slurm, schedulers.slurm, wall_clock_us)
            if config.slurm.rest
            else SlurmCommands(config.slurm, schedulers.slurm, wall_clock_us)
        )
        found.append(Asking(store, SLURM, source, config.slurm.period_s, schedulers.slurm, wall_clock_us))
    if config.kubernetes.period_s:
        pods = KubernetesPods(config.kubernetes, schedulers.kubernetes, wall_clock_us)
        asking = Asking(
            store, KUBERNETES, pods, config.kubernetes.period_s, schedulers.kubernetes, wall_clock_us
        )
        found += [pods, asking]
    return found
