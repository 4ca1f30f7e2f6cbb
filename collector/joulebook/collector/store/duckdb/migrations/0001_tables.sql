-- The embedded store. µs of the boot clock unless a name says unix; µJ; ids are local to this file.
CREATE TABLE nodes (node_id INTEGER, node VARCHAR);
CREATE TABLE boots (boot_id INTEGER, node_id INTEGER, boot BLOB);
CREATE TABLE accounts (account_id INTEGER, account VARCHAR);
CREATE TABLE layouts (layout_id INTEGER, node_id INTEGER, hash UBIGINT, serialized BLOB);
CREATE TABLE series (
    series_id INTEGER, node_id INTEGER, metric INTEGER, domain VARCHAR, device VARCHAR, workload VARCHAR);
-- A Report, or a gap between two. The row is also the mark that the Report was applied.
CREATE TABLE intervals (
    interval_id BIGINT, node_id INTEGER, boot_id INTEGER, layout_id INTEGER, is_gap BOOLEAN,
    start_us BIGINT, end_us BIGINT, end_unix_us BIGINT, interval_us BIGINT[],
    unread_us BIGINT, raised_uj BIGINT, missing_ppm INTEGER);
-- Readings as they came: the reading at the start, then a difference an interval.
CREATE TABLE chunks (
    interval_id BIGINT, series_id INTEGER, end_unix_us BIGINT, first BIGINT, change BIGINT[]);
CREATE TABLE ledger (
    interval_id BIGINT, node_id INTEGER, account_id INTEGER, end_unix_us BIGINT, duration_us BIGINT,
    cpu_active_uj BIGINT, memory_active_uj BIGINT, gpu_active_uj BIGINT,
    storage_active_uj BIGINT, network_active_uj BIGINT, platform_active_uj BIGINT,
    cpu_idle_uj BIGINT, memory_idle_uj BIGINT, gpu_idle_uj BIGINT,
    storage_idle_uj BIGINT, network_idle_uj BIGINT, platform_idle_uj BIGINT,
    modelled_uj BIGINT, systematic_uj BIGINT, variance_uj2 BIGINT);
CREATE TABLE jobs (
    job_number INTEGER, node_id INTEGER, job VARCHAR, source VARCHAR, name VARCHAR, user_name VARCHAR,
    start_unix_us BIGINT);
CREATE TABLE job_ends (job VARCHAR, node_id INTEGER, end_unix_us BIGINT, exit_status INTEGER);
CREATE TABLE source_states (
    node_id INTEGER, name VARCHAR, state INTEGER, reason VARCHAR, fix VARCHAR, unix_us BIGINT);
