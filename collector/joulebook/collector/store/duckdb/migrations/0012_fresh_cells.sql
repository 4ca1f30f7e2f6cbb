-- Cells of a minute of all nodes, of what is not added up by hour yet: they become fleet_cell_minutes then.
CREATE TABLE fleet_cell_fresh (cell_us BIGINT, account_id INTEGER, energy_uj HUGEINT);
INSERT INTO fleet_cell_fresh
SELECT cell_us - (cell_us % 60000000 + 60000000) % 60000000, account_id, sum(energy_uj)::HUGEINT
FROM fleet_cells WHERE from_id >= (SELECT hour_id FROM added_up) GROUP BY ALL;
