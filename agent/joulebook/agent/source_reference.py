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

_TAIL = """\
## What is not read, and why

- **Network cards but those of `meters/nic_power.py`.** Of NVIDIA's user manuals the chapter
  Specifications ("Typical Power", ATIS) was found for ConnectX-5 alone, and Sun's guide for QDR. Looked
  for, and not at hand with a figure: the same of ConnectX-4, -6, -6 Dx, -6 Lx, -7 and BlueField; Intel's
  briefs and data sheets of E810, X710, XL710 and X550; Broadcom's of P2100G and 57414; guides of Lenovo,
  HPE and Oracle. Lists by third parties name no document and table. UCAM-CL-TR-784 (Sohan and others,
  2010) measured ten cards of its time; its tables were not at hand. A maker's figure is one entry in that
  file.
- **POWER8 and POWER10.** OPAL shows chips and system on POWER9 alone; `occ-hwmon` is for service
  processors.
- **Altra's `smpro-hwmon`** is of its BMC interface; the host has `apm_xgene`.
- **Fujitsu A64FX** has no hwmon sensor of energy. Its cores count it in events of their PMUs (`EA_CORE`,
  `EA_L2`, `EA_MEMORY`; LIKWID, groups/arm64fx/ENERGY.txt), which perf reads with `CAP_PERFMON`; that is
  not built.
"""


def render() -> str:
    """Return the sources reference as Markdown."""
    tables = (*_section("Power and energy", METERS), *_section("Utilisation and IO", USAGE))
    return "\n".join((_HEAD, *tables, _TAIL))


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
