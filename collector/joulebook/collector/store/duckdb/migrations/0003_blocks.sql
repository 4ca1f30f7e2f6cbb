-- Settled Reports leave intervals for blocks: files beside this one, a set for an hour of the wall clock that they
-- ended in. has_raw and has_minutes: the files are there. measured_uj: what the meters delivered in them.
CREATE TABLE blocks (
    block_id INTEGER, hour BIGINT, reports BIGINT, last_interval_id BIGINT, samples BIGINT, raw_bytes BIGINT, has_raw BOOLEAN,
    minutes BIGINT, minutes_bytes BIGINT, has_minutes BOOLEAN);
-- Sequence marks of a block's Reports, those that meet as one; block -1 has the marks of all whose readings are
-- forgotten. They are kept for ever.
CREATE TABLE runs (block_id INTEGER, boot_id INTEGER, start_us BIGINT, end_us BIGINT);
-- What the meters delivered, read off raw readings that are stored: of each Report and gap, of a node's Reports in
-- a block.
CREATE TABLE measured (interval_id BIGINT, node_id INTEGER, end_unix_us BIGINT, measured_uj BIGINT);
CREATE TABLE measured_blocks (block_id INTEGER, node_id INTEGER, measured_uj BIGINT);
-- Series rolled up, in parts that are to be added: of a counter the total, of a gauge its level times the time
-- it had it (µs), and the least and the most. minute and hour count from 1970; a tick belongs to the one it ends in.
CREATE TABLE minutes (
    metric SMALLINT, series_id INTEGER, minute INTEGER, covered_us BIGINT, total BIGINT, weighted DOUBLE,
    least BIGINT, most BIGINT);
CREATE TABLE hours (
    metric SMALLINT, series_id INTEGER, hour INTEGER, covered_us BIGINT, total BIGINT, weighted DOUBLE,
    least BIGINT, most BIGINT);
-- Up to which interval the Reports of each sixteenth of the nodes are rolled up.
CREATE TABLE rolled (part INTEGER, interval_id BIGINT);
INSERT INTO rolled SELECT part, -1 FROM range(16) AS parts(part);
-- Readings of what ended up to here by the wall clock are forgotten; and so are minutes and hours.
CREATE TABLE forgotten (raw_unix_us BIGINT, minutes_unix_us BIGINT, hours_unix_us BIGINT);
INSERT INTO forgotten VALUES (0, 0, 0);
