"""Renders docs/sources.md: python -m joulebook.agent.source_reference > docs/sources.md."""

from collections.abc import Iterable

from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.source_table import METERS, USAGE

_HEAD = """\
# Sources

Made from the sources' own `FACTS` by `make stubs`; change them there. What of it a node has, and why not the
rest, says `joulebook doctor` on the node. Where two sources measure the same domain, one is booked.

The cost of a read is the median of reads in a row on a virtual x86 machine, Python included; where p50 and
p99 are told, with a rest of 10 ms between reads
([benchmarks.md](benchmarks.md#what-a-read-of-each-source-takes)). Once a second caches are cold, and it is
five to nine times what it is in a row.
"""


def render() -> str:
    """Return the sources reference as Markdown."""
    return "\n".join((_HEAD, *_section("Power and energy", METERS), *_section("Utilisation and IO", USAGE)))


def _section(title: str, facts: Iterable[SourceFacts]) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| source | what | where | unit | period | accuracy | privilege | cost of a read | documentation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{f.name}` | {f.what} | {f.where} | {f.unit} | {f.period} | {f.accuracy} | {f.privilege} "
        f"| {f.cost} | {f.documentation} |"
        for f in facts
    ]
    return [*lines, ""]


if __name__ == "__main__":
    print(render(), end="")
