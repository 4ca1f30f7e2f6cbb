-- What of the books is forgotten, for wider buckets have it: up to rows_unix_us a Report's rows of the ledger and of
-- watched_reports, once they are in totals and hours; up to minutes_unix_us minutes, and cells that are narrower than
-- an hour. Both are whole hours. watched_minutes has a row an hour before.
CREATE TABLE forgotten_books (rows_unix_us BIGINT, minutes_unix_us BIGINT);
INSERT INTO forgotten_books VALUES (0, 0);
