"""`make bench`: every figure in one run."""

import sys

from tests.bench import agent_cost, influx_cost, ingest_cost, rate_cost, spool_cost
from tests.bench.rows import machine, write


def main() -> int:
    """Measure, print and write; fail where a target is missed."""
    print(machine(), file=sys.stderr)
    parts = (agent_cost, spool_cost, ingest_cost, rate_cost, influx_cost)
    rows = [one for part in parts for one in part.measure()]
    write("bench", rows)
    return int(any(one.met is False for one in rows))


sys.exit(main())
