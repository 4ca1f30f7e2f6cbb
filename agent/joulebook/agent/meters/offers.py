"""Which of the meters that could measure a domain does: everything once, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.agent.source import Domain
from joulebook.v1 import report_pb2

_MODEL = report_pb2.SOURCE_KIND_MODEL


def is_model(domain: Domain) -> bool:
    """Say whether a domain is computed, not measured."""
    return domain.kind == _MODEL


@dataclass(frozen=True, slots=True)
class Offer:
    """A domain as one meter would give it.

    meter counts from 0, the better one first. off_ppm says how far the meter was found off, 0: it is not
    suspect. out: it gives nothing now.
    """

    meter: int
    domain: Domain
    off_ppm: int = 0
    out: bool = False

    @property
    def kind(self) -> str:
        """Return the part of the domain's name before its number."""
        return self.domain.name.partition(".")[0]

    @property
    def holds(self) -> frozenset[str]:
        """Return what lies within the domain though its name does not say so: of a module, its memory too."""
        kind, _, number = self.domain.name.partition(".")
        return self.domain.holds | ({f"memory.{number}"} if kind == "module" else frozenset())

    @property
    def is_model(self) -> bool:
        """Say whether nothing is measured."""
        return is_model(self.domain)


def choose(offers: Sequence[Offer]) -> list[int]:
    """Return the places of the offers that are booked, in the offers' order.

    The healthy come first, by meter. A suspect meter comes after a model that is nearer to the truth than it
    was found to be, and what gives nothing comes last. Each is taken unless it would count again what one
    before it counts.
    """
    chosen: list[int] = []
    for place in sorted(range(len(offers)), key=lambda place: _rank(offers[place])):
        taken = [offers[other] for other in chosen]
        if not any(_collide(offers[place], other, taken) for other in taken):
            chosen.append(place)
    return sorted(chosen)


def _rank(offer: Offer) -> tuple[bool, int, int]:
    guess_ppm = offer.domain.accuracy_ppm if offer.is_model else 0
    return offer.out, max(offer.off_ppm, guess_ppm), offer.meter


def _collide(offer: Offer, other: Offer, taken: Sequence[Offer]) -> bool:
    """Say whether two offers hold the same energy in a way that containment by name does not take apart."""
    one, two = offer.domain, other.domain
    if one.name == two.name or one.name.startswith(two.name + ".") or two.name.startswith(one.name + "."):
        return True
    if other.holds & _parts(offer) or offer.holds & _parts(other):
        return True
    # The contract puts cpu.0 into module.0, but not a die of it.
    if any(a.kind == "module" and _is_die(b, a) for a, b in ((offer, other), (other, offer))):
        return True
    # Who numbers the GPUs of another driver is not known.
    if offer.kind == other.kind == "gpu" and offer.meter != other.meter:
        return True
    if offer.is_model:
        return _holds_modelled(other, offer, taken)
    return other.is_model and _holds_modelled(offer, other, taken)


def _is_die(part: Offer, module: Offer) -> bool:
    number = module.domain.name.partition(".")[2]
    return part.domain.name.startswith((f"cpu.{number}.", f"gpu.{number}."))


def _parts(offer: Offer) -> set[str]:
    """Return what an offer is called by whoever may hold it, and the kinds of what it holds itself.

    A module holds its own CPU, which who counts all CPUs as one counts too.
    """
    held = {name.partition(".")[0] for name in offer.holds}
    return {offer.domain.name, offer.kind} | held | ({"cpu"} if offer.kind == "module" else set())


def _holds_modelled(meter: Offer, model: Offer, taken: Sequence[Offer]) -> bool:
    """Say whether what is modelled is within what a meter holds already.

    CPU and memory are within a module, anything but discrete GPUs within psys. Within node they may be
    modelled: they are shares of it, as psys is then.
    """
    if meter.is_model:
        return False
    if meter.kind == "module":
        return model.kind in ("cpu", "memory")
    return meter.kind == "psys" and model.kind != "gpu" and all(each.kind != "node" for each in taken)
