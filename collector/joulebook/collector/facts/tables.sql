-- What is no time series. µs of the boot clock unless a name says unix; µJ; ids are local to this file.
CREATE TABLE books (name TEXT NOT NULL);
CREATE TABLE boots (boot_id INTEGER PRIMARY KEY, node TEXT NOT NULL, boot BLOB NOT NULL, UNIQUE (node, boot));
CREATE TABLE layouts (
    node TEXT NOT NULL, hash BLOB NOT NULL, serialized BLOB NOT NULL, PRIMARY KEY (node, hash)) WITHOUT ROWID;
CREATE TABLE jobs (
    job TEXT NOT NULL, node TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, user_name TEXT NOT NULL,
    start_unix_us INTEGER NOT NULL, PRIMARY KEY (job, node)) WITHOUT ROWID;
CREATE TABLE job_ends (
    job TEXT NOT NULL, node TEXT NOT NULL, end_unix_us INTEGER NOT NULL, exit_status INTEGER NOT NULL,
    PRIMARY KEY (job, node)) WITHOUT ROWID;
-- What changed a job's figure after it had been final: a Report each, which raises the job's revision by one.
CREATE TABLE revisions (
    job TEXT NOT NULL, node TEXT NOT NULL, boot BLOB NOT NULL, start_us INTEGER NOT NULL,
    revised_unix_us INTEGER NOT NULL, change INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, node, boot, start_us)) WITHOUT ROWID;
CREATE TABLE sources (
    node TEXT NOT NULL, name TEXT NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL, fix TEXT NOT NULL,
    PRIMARY KEY (node, name)) WITHOUT ROWID;
-- settled 0: a place that is reserved, and may hold what nobody vouches for.
CREATE TABLE marks (
    mark INTEGER PRIMARY KEY, boot_id INTEGER NOT NULL, settled INTEGER NOT NULL, clock TEXT NOT NULL,
    end_unix_us INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
    start_unix_us INTEGER NOT NULL, ledger_rows INTEGER NOT NULL, unread_us INTEGER NOT NULL,
    raised_uj INTEGER NOT NULL, layout BLOB NOT NULL, interval_us TEXT NOT NULL, first_uj TEXT NOT NULL,
    last_uj TEXT NOT NULL, first_slot INTEGER NOT NULL, last_slot INTEGER NOT NULL, digest BLOB NOT NULL,
    booking INTEGER NOT NULL DEFAULT 0, booking_taken INTEGER NOT NULL DEFAULT 0,
    rebooked INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX one_mark_a_report ON marks (boot_id, start_us) WHERE settled;
CREATE INDEX marks_by_boot ON marks (boot_id, end_unix_us);
CREATE INDEX marks_by_end ON marks (end_unix_us);
