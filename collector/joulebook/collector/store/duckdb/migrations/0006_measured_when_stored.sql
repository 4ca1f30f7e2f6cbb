-- What a Report's meters delivered, read off its readings when it was stored: it answers until a roll-up has read
-- it off what is stored. NULL: it came before this was noted.
ALTER TABLE watched_reports ADD COLUMN measured_uj BIGINT;
