-- What changed a job's figure after it had been final: a row for each Report and job, which raises the job's
-- revision by one.
CREATE TABLE revisions (account_id INTEGER, interval_id BIGINT, revised_unix_us BIGINT);
