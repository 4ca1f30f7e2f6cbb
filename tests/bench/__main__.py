"""`make bench`: every figure in one run; PARTS="gauges ticks" takes some."""

import sys
from importlib import import_module

from tests.bench.rows import machine, write

# In the order in which they run; each module has measure().
PARTS = {
    "agent": "agent_cost",
    "ticks": "ticks",
    "by_disk": "by_disk",
    "intensity": "intensity_cost",
    "sources": "source_cost",
    "scale": "scale_cost",
    "launchers": "launcher_cost",
    "gauges": "gauges",
    "bmc": "bmc_cost",
    "part_time": "part_time",
    "spool": "spool_cost",
    "ingest": "ingest_cost",
    "rate": "rate_cost",
    "disk": "disk_cost",
    "settle": "settle_cost",
    "influx": "influx_cost",
    "month": "month",
    "queries": "query_cost",
}


def main(names: list[str]) -> int:
    """Measure, print and write; fail where a target is missed."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"unknown part {unknown[0]!r}: expected some of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(machine(), file=sys.stderr)
    rows = []
    for name in names or PARTS:
        rows += import_module(f"tests.bench.{PARTS[name]}").measure()
    write("bench", rows)
    return int(any(one.met is False for one in rows))


sys.exit(main(sys.argv[1:]))
