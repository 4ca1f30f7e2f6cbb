-- Of storage's energy, what disks of each tier had. Of what was booked before, no tier is known.
-- totals is made anew: a table with an index takes no column.
ALTER TABLE ledger ADD COLUMN nvme_uj BIGINT DEFAULT 0;
ALTER TABLE ledger ADD COLUMN ssd_uj BIGINT DEFAULT 0;
ALTER TABLE ledger ADD COLUMN hdd_uj BIGINT DEFAULT 0;
CREATE TABLE totals_before AS FROM totals;
DROP TABLE totals;
CREATE TABLE totals AS
SELECT *, 0::HUGEINT AS nvme_uj, 0::HUGEINT AS ssd_uj, 0::HUGEINT AS hdd_uj FROM totals_before;
CREATE INDEX totals_by_account ON totals (account_id);
DROP TABLE totals_before;
ALTER TABLE fleet_minutes ADD COLUMN nvme_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_minutes ADD COLUMN ssd_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_minutes ADD COLUMN hdd_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_hours ADD COLUMN nvme_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_hours ADD COLUMN ssd_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_hours ADD COLUMN hdd_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_days ADD COLUMN nvme_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_days ADD COLUMN ssd_uj HUGEINT DEFAULT 0;
ALTER TABLE fleet_days ADD COLUMN hdd_uj HUGEINT DEFAULT 0;
ALTER TABLE node_hours ADD COLUMN nvme_uj HUGEINT DEFAULT 0;
ALTER TABLE node_hours ADD COLUMN ssd_uj HUGEINT DEFAULT 0;
ALTER TABLE node_hours ADD COLUMN hdd_uj HUGEINT DEFAULT 0;
ALTER TABLE node_days ADD COLUMN nvme_uj HUGEINT DEFAULT 0;
ALTER TABLE node_days ADD COLUMN ssd_uj HUGEINT DEFAULT 0;
ALTER TABLE node_days ADD COLUMN hdd_uj HUGEINT DEFAULT 0;
