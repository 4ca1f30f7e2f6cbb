-- Hours are added up to days, as minutes are to hours. from_id: the mark of the roll-up before.
ALTER TABLE added_up ADD COLUMN day_id BIGINT DEFAULT 0;
ALTER TABLE fleet_hours ADD COLUMN from_id BIGINT DEFAULT 0;
ALTER TABLE node_hours ADD COLUMN from_id BIGINT DEFAULT 0;
CREATE TABLE fleet_days AS SELECT * EXCLUDE (from_id) FROM fleet_hours LIMIT 0;
CREATE TABLE node_days AS SELECT * EXCLUDE (from_id) FROM node_hours LIMIT 0;
