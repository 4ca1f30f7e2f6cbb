"""All meters as one: each domain is given by the best that is in order; where it is not, another takes over.

A take-over is a new layout that begins at the tick where the old one ends, so no interval is booked twice or
by none. What a suspect meter gives goes on to be booked where there is nothing better, with a ± as wide as it
was found off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from joulebook.agent.meters.offers import Offer, choose, is_model
from joulebook.agent.meters.siblings import STUCK_WINDOWS, Course, Suspicion, compare
from joulebook.agent.meters.standing import Standing, patience_us
from joulebook.agent.reader import Reader
from joulebook.agent.source import (
    SUSPECT,
    UNREADABLE,
    WORKING,
    Domain,
    Finding,
    Meter,
    Probe,
    Sampling,
    Series,
)

_WINDOW_US = 60_000_000
# Two findings in a row: one may be lag at an edge of a load.
_IN_A_ROW = 2


@dataclass(slots=True)
class _Given:
    """A domain of one meter: where its values are, what its course was, and what was found of it."""

    domain: Domain
    own: Finding
    meter: int = 0
    place: int = 0
    began: tuple[int, int] = (0, 0)
    course: deque[int] = field(default_factory=lambda: deque(maxlen=STUCK_WINDOWS))
    doubts: int = 0
    doubt: Suspicion | None = None
    said: Finding = field(init=False)

    def __post_init__(self) -> None:
        self.said = self.own


class Arbiter:
    """Reads the meters it is given, the better ones first; models last. Each was probed already."""

    name = "meters"

    def __init__(self, meters: Sequence[tuple[Meter, Probe]]) -> None:
        self.meters = [meter for meter, _ in meters]
        self._readers = [Reader(meter, probe, has_place=True) for meter, probe in meters]
        self._sampling = {
            number: meter.variances_nj2
            for number, meter in enumerate(self.meters)
            if isinstance(meter, Sampling)
        }
        self._given: dict[str, _Given] = {}
        self._standings: dict[str, Standing] = {}
        self._findings: list[Finding] = []
        self._booked: set[tuple[int, str]] = set()
        self._parts: list[tuple[Reader, slice]] = []
        self._offsets: list[tuple[int, int]] = []
        # What is absent for good is neither read nor asked for news.
        self._live = [reader for reader in self._readers if reader.worth_reading]
        self._counting: set[int] = set()
        self._telling = [
            meter for meter, reader in zip(self.meters, self._readers, strict=True) if reader.worth_reading
        ]
        self._read_us = -1
        self._window_us = -1
        self._arrange()
        self._probe = self._settle()

    def probe(self) -> Probe:
        """Return what the meters give together."""
        findings = tuple(finding for reader in self._readers for finding in reader.probe.findings)
        return replace(self._probe, findings=findings)

    def offered(self) -> list[Domain]:
        """Return what each meter could give, booked or not; a domain's source names the meter."""
        return [given.domain for given in self._given.values()]

    def read(self, now_us: int) -> Sequence[int]:
        """Return the values of what is booked; every meter is read once for a moment."""
        if now_us != self._read_us:
            self._read_us = now_us
            for reader in self._live:
                finding = reader.read(now_us)
                if finding is not None:
                    self._take_whole(reader, finding)
        values: list[int] = []
        for reader, part in self._parts:
            values += reader.last[part]
        return values

    def findings(self) -> tuple[Finding, ...]:
        """Return what changed since the last call, of every meter, booked or not."""
        for meter in self._telling:
            for finding in meter.findings():
                self._take(finding)
        if self._read_us - self._window_us >= _WINDOW_US:
            self._end_window()
        findings, self._findings = tuple(self._findings), []
        return findings

    def offsets_uj(self) -> tuple[int, ...]:
        """Return, for each booked domain, the series value less the hardware counter."""
        offsets = {number: self.meters[number].offsets_uj() for number in self._counting}
        return tuple([offsets[meter][place] for meter, place in self._offsets])

    def variances_nj2(self) -> tuple[int, ...]:
        """Return, for each booked domain, how far off its energy may be by being read at moments."""
        told = {number: self._sampling[number]() for number in self._counting if number in self._sampling}
        return tuple([told[meter][place] if meter in told else 0 for meter, place in self._offsets])

    def changed(self) -> Probe | None:
        """Return what is given now, where meters changed or one takes over for another."""
        news = [found for reader in self._live if (found := reader.change(self._read_us)) is not None]
        if news:
            self._arrange()
        elif not self._standings or not self._judge():
            return None
        before, self._probe = self._probe, self._settle()
        if not news and self._probe == before:
            return None
        return replace(self._probe, findings=tuple(finding for found in news for finding in found))

    def close(self) -> None:
        """Close every meter."""
        for meter in self.meters:
            meter.close()

    def _arrange(self) -> None:
        """Take up the domains of all meters; what stays keeps what was found of it."""
        known, self._given = self._given, {}
        for number, reader in enumerate(self._readers):
            for place, domain in enumerate(reader.probe.domains):
                name = f"{reader.source.name}:{domain.name}"
                before = known.get(name)
                if before is None or before.domain != domain:
                    before = _Given(domain, Finding(name, WORKING))
                before.meter, before.place = number, place
                self._given[name] = before
        self._standings = {name: s for name, s in self._standings.items() if name in self._given}
        self._window_us = -1

    def _settle(self) -> Probe:
        """Choose what is booked, and where its values stand."""
        sound = Standing(0)
        offers = []
        for name, given in self._given.items():
            standing = self._standings.get(name, sound)
            offers.append(Offer(given.meter, given.domain, standing.off_ppm, standing.out))
        chosen = choose(offers)
        places = [given.place for given in self._given.values()]
        self._offsets = [(offers[i].meter, places[i]) for i in chosen]
        self._counting = {meter for meter, _ in self._offsets}
        self._booked = {(offers[i].meter, offers[i].domain.name) for i in chosen}
        owners = self._owners()
        series: list[Series] = []
        self._parts = []
        for number, reader in enumerate(self._readers):
            for at, one in enumerate(reader.probe.series):
                is_kept = (number, one.domain) in self._booked if one.domain else True
                if is_kept and owners.get(one.device, number) == number:
                    series.append(one)
                    self._extend(reader, at)
        return Probe(
            series=tuple(series),
            domains=tuple(_widened(offers[i]) for i in chosen),
            devices=tuple(
                device
                for number, reader in enumerate(self._readers)
                for device in reader.probe.devices
                if owners[device.name] == number
            ),
        )

    def _owners(self) -> dict[str, int]:
        """Return the meter that tells of each device: who gives the domain of that name, else the first."""
        owners: dict[str, int] = {}
        for number, reader in enumerate(self._readers):
            for device in reader.probe.devices:
                if device.name not in owners or (number, device.name) in self._booked:
                    owners[device.name] = number
        return owners

    def _extend(self, reader: Reader, at: int) -> None:
        if self._parts and self._parts[-1][0] is reader and self._parts[-1][1].stop == at:
            self._parts[-1] = (reader, slice(self._parts[-1][1].start, at + 1))
        else:
            self._parts.append((reader, slice(at, at + 1)))

    def _judge(self) -> bool:
        """Look at what is out of order; say whether what is acted on changed."""
        before = [(standing.off_ppm, standing.out) for standing in self._standings.values()]
        watched = [standing.judge(self._read_us) for standing in self._standings.values()]
        after = [(standing.off_ppm, standing.out) for standing in self._standings.values()]
        if not all(watched):
            names = zip(list(self._standings), watched, strict=True)
            self._standings = {name: self._standings[name] for name, is_watched in names if is_watched}
        return before != after

    def _take_whole(self, reader: Reader, finding: Finding) -> None:
        """Take what was found of a meter as a whole: it holds for all its domains."""
        self._findings.append(finding)
        for domain in reader.probe.domains:
            self._take(replace(finding, name=f"{reader.source.name}:{domain.name}"))

    def _take(self, finding: Finding) -> None:
        given = self._given.get(finding.name)
        if given is None:
            self._findings.append(finding)
            return
        given.own = finding
        self._tell(given)

    def _tell(self, given: _Given) -> None:
        """Tell how a domain's meter stands, by itself and beside others, where that changed."""
        found = given.own
        if found.state == WORKING and given.doubt is not None:
            found = Finding(found.name, SUSPECT, given.doubt.reason, off_ppm=given.doubt.off_ppm)
        if found == given.said:
            return
        given.said = found
        self._findings.append(found)
        if found.name not in self._standings:
            self._standings[found.name] = Standing(patience_us(given.domain))
        self._standings[found.name].take(found, self._read_us)

    def _end_window(self) -> None:
        """Compare what the meters gave in the window that ends here, and begin the next."""
        elapsed_us = self._read_us - self._window_us
        is_whole = self._window_us >= 0
        self._window_us = self._read_us
        for given in self._given.values():
            at = 2 * given.place
            energy_uj, unread_us = self._readers[given.meter].last[at : at + 2]
            if is_whole:
                read_throughout = unread_us == given.began[1] and given.own.state != UNREADABLE
                power_mw = (energy_uj - given.began[0]) * 1000 // elapsed_us
                given.course.append(power_mw if read_throughout else -1)
            given.began = (energy_uj, unread_us)
        if is_whole:
            self._compare()

    def _compare(self) -> None:
        # What is known to be wrong by itself is no evidence against others.
        measured = [
            given
            for given in self._given.values()
            if given.own.state == WORKING and not is_model(given.domain)
        ]
        found = compare(
            [
                Course(
                    self.meters[given.meter].name,
                    given.domain,
                    tuple(given.course),
                    (given.meter, given.domain.name) in self._booked,
                )
                for given in measured
            ]
        )
        for place, given in enumerate(measured):
            given.doubts = given.doubts + 1 if place in found else 0
            doubt = found.get(place) if given.doubts >= _IN_A_ROW else None
            # Words and figures of one suspicion stay while it lasts.
            if (doubt is None) != (given.doubt is None):
                given.doubt = doubt
                self._tell(given)


def _widened(offer: Offer) -> Domain:
    domain = offer.domain
    return domain if offer.off_ppm <= domain.accuracy_ppm else replace(domain, accuracy_ppm=offer.off_ppm)
