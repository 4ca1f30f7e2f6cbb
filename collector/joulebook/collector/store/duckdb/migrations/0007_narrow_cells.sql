-- Cells of 5 s that begin before this are forgotten: wider ones answer, and rows where none is wide enough.
CREATE TABLE forgotten_cells (narrow_unix_us BIGINT);
INSERT INTO forgotten_cells VALUES (0);
-- A scan finds a job's rows, which lie together, in a tenth of the time that the index took.
DROP INDEX totals_by_account;
