"""Rows of an embedded store that may not be there: energy below 0, and what belongs to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from joulebook.collector.check.finding import Finding, day
from joulebook.collector.ledger.figures import FIGURES
from joulebook.collector.store.duckdb.reads import Reads
from joulebook.collector.store.protocol import Range

EVER = Range(0, 1 << 62)
_LEAST = ", ".join(FIGURES)
# What there must be none of: what it is, the node and the time of one (NULL: not known), and which.
_ORPHANS = (
    ("ledger row", "a Report", "{ledger} ANTI JOIN {marks} USING (interval_id)", "interval_id"),
    ("gap's row", "a gap", "gap_ledger ANTI JOIN {marks} USING (interval_id)", "interval_id"),
    ("gap", "a row", "{marks} ANTI JOIN gap_ledger USING (interval_id) WHERE is_gap", "interval_id"),
    ("Report or gap", "a node", "{marks} ANTI JOIN nodes USING (node_id)", "interval_id"),
    ("Report or gap", "a boot", "{marks} ANTI JOIN boots USING (boot_id)", "interval_id"),
    ("Report", "a layout", "{marks} ANTI JOIN layouts USING (layout_id) WHERE NOT is_gap", "interval_id"),
    (
        "revision",
        "a ledger row",
        "{revisions} ANTI JOIN ledger USING (interval_id, account_id)",
        "interval_id",
    ),
    ("ledger row", "an account", "ledger ANTI JOIN accounts USING (account_id)", "interval_id"),
)
_TWICE = (
    ("Report or gap", "{marks}", "interval_id"),
    ("Report or gap", "{marks}", "boot_id, start_us, is_gap"),
    ("ledger row", "ledger", "interval_id, account_id"),
    ("gap's row", "gap_ledger", "interval_id"),
    ("revision", "revisions", "interval_id, account_id"),
    ("node", "nodes", "node_id"),
    ("layout", "layouts", "layout_id"),
)


def wrong_rows(view: Reads) -> Iterator[Finding]:
    """Give what there is of rows that may not be."""
    for node, unix_us, count, least in view._rows(
        f"""
        SELECT node, min(end_unix_us), count(*), min(least({_LEAST}))
        FROM ledger LEFT JOIN nodes USING (node_id)
        WHERE least({_LEAST}) < 0 GROUP BY node, end_unix_us // 86400000000 ORDER BY ALL
        """
    ):
        yield Finding("negative", node or "?", day(unix_us), f"{count} rows, down to {least}", "none below 0")
    known = {
        "marks": view._marks(EVER, "interval_id, node_id, boot_id, layout_id, start_us, is_gap"),
        # Of Reports whose readings are forgotten the books are kept, and no more.
        "ledger": "(SELECT * FROM ledger WHERE end_unix_us > (SELECT raw_unix_us FROM forgotten))",
        # Of Reports whose rows are forgotten their raises are kept.
        "revisions": "(SELECT * FROM revisions WHERE (SELECT rows_unix_us FROM forgotten_books) = 0 "
        "OR interval_id IN (SELECT interval_id FROM watched_reports))",
    }
    for what, owner, of, which in _ORPHANS:
        ((count, first),) = view._rows(f"SELECT count(*), min({which}) FROM {of.format(**known)}")
        if count:
            yield Finding("orphan", "", "", f"{count} of {what}, the first is {first}", f"each has {owner}")
    for what, table, names in _TWICE:
        query = (
            f"SELECT {names}, count(*) AS times FROM {table.format(**known)} "
            f"GROUP BY {names} HAVING times > 1 ORDER BY ALL"
        )
        if found := view._rows(query):
            yield Finding("twice", "", "", f"{len(found)} of {what}, the first is {found[0]}", "each once")
