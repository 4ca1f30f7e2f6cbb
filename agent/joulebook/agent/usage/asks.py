"""How often what is asked beside the tick refused to answer, or did not answer in time."""

from collections.abc import Sequence

from joulebook.agent.asked import Asked, Asking
from joulebook.agent.source import ABSENT, WORKING, Device, Finding, Probe, Series
from joulebook.agent.source_facts import SourceFacts
from joulebook.v1 import metrics_pb2, report_pb2

FACTS = SourceFacts(
    name="asks",
    what="how often each source that is asked beside the tick was asked, refused and was silent, as devices"
    " `source.NAME`",
    where="the agent itself",
    unit="questions",
    period="each tick",
    accuracy="exact; a question that hangs counts once, when its time is over",
    privilege="none",
    cost="0.5 µs a source that asks",
    documentation="[bmc.md](bmc.md)",
)

METRICS = (
    metrics_pb2.METRIC_DEVICE_ASKS,
    metrics_pb2.METRIC_DEVICE_ASKS_REFUSED,
    metrics_pb2.METRIC_DEVICE_ASKS_TIMED_OUT,
)


class AskUsage:
    """Counts of questions, as devices of their own; a source is one from its first question on."""

    name = "asks"

    def __init__(self, sources: Sequence[object]) -> None:
        """Take those of all sources that ask."""
        # Not at every tick: the look whether one does costs more than all of its counts.
        self._asking = [source for source in sources if isinstance(source, Asking)]
        self._shown: dict[str, Asked] = {}

    def probe(self) -> Probe:
        """Find what was asked already."""
        self._shown = self._found()
        if not self._shown:
            return Probe(findings=(Finding(self.name, ABSENT, "nothing is asked beside the tick"),))
        return self._told()

    def read(self, now_us: int) -> Sequence[int]:  # noqa: ARG002  (counts have no time)
        """Return for each source that is shown how often it was asked, refused and was silent."""
        return [
            count for each in self._shown.values() for count in (each.count, each.refused, each.timed_out)
        ]

    def changed(self) -> Probe | None:
        """Return the sources that were asked, where there are more of them now."""
        found = self._found()
        if found.keys() == self._shown.keys():
            return None
        self._shown = found
        return self._told()

    def close(self) -> None:
        """Hold nothing."""

    def _found(self) -> dict[str, Asked]:
        told = (source.asked() for source in self._asking)
        return {name: asked for name, asked in filter(None, told) if asked.count}

    def _told(self) -> Probe:
        names = [f"source.{name}" for name in self._shown]
        return Probe(
            series=tuple(Series(metric, device=name) for name in names for metric in METRICS),
            devices=tuple(Device(name, report_pb2.DEVICE_KIND_SOURCE) for name in names),
            findings=(Finding(self.name, WORKING),),
        )
