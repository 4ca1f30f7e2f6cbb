-- What questions are answered from, instead of from every row.
-- How a Report was watched.
CREATE TABLE watched_reports (
    interval_id BIGINT, node_id INTEGER, end_unix_us BIGINT, reported_us BIGINT, unread_us BIGINT,
    raised_uj BIGINT);
-- What the books are added up to, in the transaction of a commit now and then. Each holds every row of the
-- ledger (or Report of intervals) whose interval_id is below its mark here, and none other, whatever time it is
-- of; so the same bucket may have several rows, which add up.
CREATE TABLE added_up (total_id BIGINT, minute_id BIGINT, hour_id BIGINT);
INSERT INTO added_up VALUES (0, 0, 0);
-- A gap, and what `unattributed` received for it. Gaps go when they are filled, so they are in no roll-up.
CREATE TABLE gap_ledger (
    interval_id BIGINT, node_id INTEGER, end_unix_us BIGINT, duration_us BIGINT,
    cpu_active_uj BIGINT, memory_active_uj BIGINT, gpu_active_uj BIGINT,
    storage_active_uj BIGINT, network_active_uj BIGINT, platform_active_uj BIGINT,
    missing_us BIGINT, raised_uj BIGINT);
-- All that an account ever received on a node.
CREATE TABLE totals (
    account_id INTEGER, node_id INTEGER,
    cpu_active_uj HUGEINT, memory_active_uj HUGEINT, gpu_active_uj HUGEINT,
    storage_active_uj HUGEINT, network_active_uj HUGEINT, platform_active_uj HUGEINT,
    cpu_idle_uj HUGEINT, memory_idle_uj HUGEINT, gpu_idle_uj HUGEINT,
    storage_idle_uj HUGEINT, network_idle_uj HUGEINT, platform_idle_uj HUGEINT,
    modelled_uj HUGEINT, systematic_uj HUGEINT, variance_uj2 HUGEINT, duration_us HUGEINT,
    first_unix_us BIGINT, last_unix_us BIGINT);
CREATE INDEX totals_by_account ON totals (account_id);
-- What accounts received in the buckets (end - width, end] that intervals ended in: of all nodes by minute and
-- hour, of each by hour. from_id: the mark of the roll-up before.
CREATE TABLE fleet_minutes (
    from_id BIGINT, bucket_us BIGINT, account_id INTEGER,
    cpu_active_uj HUGEINT, memory_active_uj HUGEINT, gpu_active_uj HUGEINT,
    storage_active_uj HUGEINT, network_active_uj HUGEINT, platform_active_uj HUGEINT,
    cpu_idle_uj HUGEINT, memory_idle_uj HUGEINT, gpu_idle_uj HUGEINT,
    storage_idle_uj HUGEINT, network_idle_uj HUGEINT, platform_idle_uj HUGEINT,
    modelled_uj HUGEINT, systematic_uj HUGEINT, variance_uj2 HUGEINT, duration_us HUGEINT,
    first_unix_us BIGINT, last_unix_us BIGINT);
CREATE TABLE fleet_hours AS SELECT * EXCLUDE (from_id) FROM fleet_minutes;
CREATE TABLE node_hours AS SELECT bucket_us, 0::INTEGER AS node_id, * EXCLUDE (bucket_us) FROM fleet_hours;
-- How Reports were watched, by when they ended.
CREATE TABLE watched_minutes (
    from_id BIGINT, bucket_us BIGINT, reported_us HUGEINT, unread_us HUGEINT, raised_uj HUGEINT);
CREATE TABLE watched_hours (
    bucket_us BIGINT, node_id INTEGER, reported_us HUGEINT, unread_us HUGEINT, raised_uj HUGEINT);
-- What was booked for an interval, spread evenly over its time: by cells [start, start + width) of 5 s, a minute
-- and an hour of all nodes, of 10 minutes and an hour of each. What is longer than 10 minutes is not in them, but
-- in long_ledger.
CREATE TABLE fleet_cells (from_id BIGINT, cell_us BIGINT, account_id INTEGER, energy_uj HUGEINT);
CREATE TABLE fleet_cell_minutes (cell_us BIGINT, account_id INTEGER, energy_uj HUGEINT);
CREATE TABLE fleet_cell_hours (cell_us BIGINT, account_id INTEGER, energy_uj HUGEINT);
CREATE TABLE node_cells (cell_us BIGINT, node_id INTEGER, account_id INTEGER, energy_uj HUGEINT);
CREATE TABLE node_cell_hours (cell_us BIGINT, node_id INTEGER, account_id INTEGER, energy_uj HUGEINT);
CREATE TABLE long_ledger (
    interval_id BIGINT, node_id INTEGER, account_id INTEGER, end_unix_us BIGINT, duration_us BIGINT,
    energy_uj HUGEINT);
-- Each node's newest Report.
CREATE TABLE newest_reports (
    node_id INTEGER, layout_id INTEGER, boot_id INTEGER, end_unix_us BIGINT, end_us BIGINT);
-- Gaps have a table of their own.
INSERT INTO gap_ledger
SELECT interval_id, i.node_id, i.end_unix_us, end_us - start_us,
    coalesce(cpu_active_uj, 0), coalesce(memory_active_uj, 0), coalesce(gpu_active_uj, 0),
    coalesce(storage_active_uj, 0), coalesce(network_active_uj, 0), coalesce(platform_active_uj, 0),
    (end_us - start_us)::HUGEINT * missing_ppm // 1000000, raised_uj
FROM intervals AS i LEFT JOIN ledger USING (interval_id) WHERE is_gap;
DELETE FROM ledger USING gap_ledger WHERE ledger.interval_id = gap_ledger.interval_id;
INSERT INTO watched_reports
SELECT interval_id, any_value(node_id), any_value(end_unix_us), any_value(duration_us),
    coalesce(any_value(unread_us), 0), coalesce(any_value(raised_uj), 0)
FROM ledger LEFT JOIN (SELECT interval_id, unread_us, raised_uj FROM intervals) USING (interval_id)
GROUP BY interval_id;
INSERT INTO long_ledger
SELECT interval_id, node_id, account_id, end_unix_us, duration_us,
    cpu_active_uj::HUGEINT + memory_active_uj + gpu_active_uj + storage_active_uj + network_active_uj
    + platform_active_uj + cpu_idle_uj + memory_idle_uj + gpu_idle_uj + storage_idle_uj + network_idle_uj
    + platform_idle_uj
FROM ledger WHERE duration_us > 600000000;
