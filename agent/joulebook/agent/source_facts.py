"""What is known of a kind of source before any node is looked at: a row of docs/sources.md."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A source in words. Each source's module has its own as FACTS; source_table.py lists them.

    what: what it measures, with the domains. where: the file or interface. unit: as the source shows it.
    period: how often it takes a new value, and over which window. accuracy: the systematic error that is
    assumed. privilege: what the agent needs. cost: of a read, and how that was taken. documentation: the
    kernel's page, the vendor's manual, the paper.
    """

    name: str
    what: str
    where: str
    unit: str
    period: str
    accuracy: str
    privilege: str
    cost: str
    documentation: str
