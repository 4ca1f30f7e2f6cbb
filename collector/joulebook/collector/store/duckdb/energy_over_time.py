"""The embedded store's question for energy by account and step.

What was booked for an interval is spread evenly over its time: up to a moment it is rounded down to whole µJ,
so what lies between moments adds up to the whole, wherever they are.
"""

from __future__ import annotations

from joulebook.collector.ledger.domains import CLASSES

_ENERGY = " + ".join(f"{name}_{part}_uj" for name in CLASSES for part in ("active", "idle"))

# Takes from, to and step in µs and node or NULL; gives (account, step, µJ).
QUERY = f"""
WITH booked AS (
    SELECT account_id, {_ENERGY} AS uj, end_unix_us - duration_us AS began, end_unix_us AS ended,
           greatest((began - $from) // $step, 0) AS first_step,
           least((ended - $from - 1) // $step, ($to - $from - 1) // $step) AS last_step
    FROM ledger JOIN nodes USING (node_id)
    WHERE end_unix_us > $from AND end_unix_us - duration_us < $to
        AND ($node IS NULL OR node = $node) AND uj > 0),
parts AS (
    -- Most lie within one step.
    SELECT account_id, last_step AS step, sum(uj)::HUGEINT AS uj FROM booked
    WHERE first_step >= last_step AND began >= $from AND ended <= $to GROUP BY ALL
    UNION ALL
    SELECT account_id, step,
        sum(uj::HUGEINT * (least($from + (step + 1) * $step, $to, ended) - began)
                // (ended - began)
            - uj::HUGEINT * (greatest($from + step * $step, began) - began) // (ended - began))
    FROM (SELECT *, unnest(range(first_step, last_step + 1)) AS step FROM booked
          WHERE first_step < last_step OR began < $from OR ended > $to) GROUP BY ALL)
SELECT account, step::BIGINT, sum(uj)::HUGEINT AS uj FROM parts JOIN accounts USING (account_id)
GROUP BY ALL HAVING sum(uj) > 0
"""
