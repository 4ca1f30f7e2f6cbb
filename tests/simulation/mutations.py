"""Faults of our own: what the simulation must find when it is put into the programs."""

from __future__ import annotations

from typing import Any

from joulebook.agent.spool.spool import Spool
from joulebook.collector.ingest.committer import Committer


class Mutation:
    """Changes nothing. Others override what they break."""

    def spool(self, spool: Spool) -> Spool:
        """Return the spool that the agent is to have."""
        return spool

    def committer(self, committer: Committer) -> Committer:
        """Return the committer that the collector is to have."""
        return committer

    def store(self, opened: Any) -> Any:
        """Return the store that the collector is to have open."""
        return opened
