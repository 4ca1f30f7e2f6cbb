-- Hours whose Reports were booked once more, with what they tell together, and by which policy.
CREATE TABLE rebooked_hours (hour BIGINT, policy VARCHAR);
-- Which Reports that holds for: those of blocks that are marked, of some nodes of others, and of some in intervals.
ALTER TABLE blocks ADD COLUMN rebooked BOOLEAN DEFAULT false;
CREATE TABLE rebooked_nodes (block_id INTEGER, node_id INTEGER);
CREATE TABLE rebooked_alone (interval_id BIGINT);
-- What a job that had ended had received in all before its Reports of an hour were booked anew: each raises the job's
-- revision by one.
CREATE TABLE superseded (
    account_id INTEGER, hour BIGINT, revision INTEGER, energy_uj HUGEINT, systematic_uj HUGEINT, variance_uj2 HUGEINT,
    superseded_unix_us BIGINT);
