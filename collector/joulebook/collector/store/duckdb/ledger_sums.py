"""What of the ledger's rows is added up, and how SQL says it.

Sums are HUGEINT wherever they are kept: no Report that is let in can make one overflow, so none can stop the
roll-ups.
"""

from __future__ import annotations

from collections.abc import Sequence

from joulebook.collector.ledger.domains import CLASSES, TIERS
from joulebook.collector.ledger.figures import ENERGIES, FIGURES
from joulebook.collector.store.rows import AccountRow

# As AccountRow has them.
SUMS = [*FIGURES, "duration_us"]
ENERGY_UJ = "(" + " + ".join(f"{name}::HUGEINT" for name in ENERGIES) + ")"

# Of a row of the ledger as it is; of some added up, and of rows that are sums already.
EACH = ", ".join(SUMS) + (", end_unix_us - duration_us AS first_unix_us, end_unix_us AS last_unix_us")
OF_ROWS = ", ".join(f"sum({name})::HUGEINT AS {name}" for name in SUMS) + (
    ", min(end_unix_us - duration_us) AS first_unix_us, max(end_unix_us) AS last_unix_us"
)
OF_SUMS = ", ".join(f"sum({name})::HUGEINT AS {name}" for name in SUMS) + (
    ", min(first_unix_us) AS first_unix_us, max(last_unix_us) AS last_unix_us"
)
# A gap's row has the active classes alone.
OF_GAPS = ", ".join(
    f"sum({name})::HUGEINT AS {name}"
    if name in ENERGIES[: len(CLASSES)] or name == "duration_us"
    else f"0::HUGEINT AS {name}"
    for name in SUMS
) + (", min(end_unix_us - duration_us) AS first_unix_us, max(end_unix_us) AS last_unix_us")
GAP_UJ = "(" + " + ".join(f"{name}::HUGEINT" for name in ENERGIES[: len(CLASSES)]) + ")"
GAP_HAS_ENERGY = " + ".join(ENERGIES[: len(CLASSES)]) + " > 0"
NAMES = ", ".join([*SUMS, "first_unix_us", "last_unix_us"])
# The same in 64 bits, NULL where one has more.
NARROW = ", ".join(
    [*(f"TRY_CAST({name} AS BIGINT) AS {name}" for name in SUMS), "first_unix_us", "last_unix_us"]
)

# How a Report was watched: of rows of intervals, and of rows that are sums already.
WATCHED = ["reported_us", "unread_us", "raised_uj"]
WATCHED_OF_ROWS = (
    "sum(reported_us)::HUGEINT AS reported_us, sum(unread_us)::HUGEINT AS unread_us, "
    "sum(raised_uj)::HUGEINT AS raised_uj"
)
WATCHED_OF_SUMS = ", ".join(f"sum({name})::HUGEINT AS {name}" for name in WATCHED)


def ceiling(column: str, width_us: int) -> str:
    """Return SQL for the end of the bucket that a time lies in: buckets are (end - width, end]."""
    return f"({column} + (-{column} % {width_us} + {width_us}) % {width_us})"


def floor(column: str, width_us: int) -> str:
    """Return SQL for the start of the cell that a time lies in: cells are [start, start + width)."""
    return f"({column} - ({column} % {width_us} + {width_us}) % {width_us})"


def account_row(account: str, node: str, sums: tuple[int, ...]) -> AccountRow:
    """Make an AccountRow of a row of NAMES."""
    n, tiers = len(CLASSES), len(ENERGIES) + len(TIERS)
    return AccountRow(account, node, sums[:n], sums[n : 2 * n], sums[2 * n : tiers], *sums[tiers:])


def added(some: tuple[int, ...], others: Sequence[int]) -> tuple[int, ...]:
    """Add two rows of NAMES up; the last two say since when and until when."""
    sums = (a + b for a, b in zip(some[:-2], others[:-2], strict=True))
    return (*sums, min(some[-2], others[-2]), max(some[-1], others[-1]))
