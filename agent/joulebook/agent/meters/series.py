"""Lay out the series that every meter gives."""

from collections.abc import Iterable

from joulebook.agent.source import Series
from joulebook.v1 import metrics_pb2


def energy_series(domains: Iterable[str]) -> tuple[Series, ...]:
    """Return energy_uj then unread_us for each domain, in order."""
    return tuple(
        Series(metric, domain=domain)
        for domain in domains
        for metric in (metrics_pb2.METRIC_DOMAIN_ENERGY, metrics_pb2.METRIC_DOMAIN_UNREAD)
    )
