-- What made a job, parts of CPUs and of GPUs.
CREATE TABLE scheduled_before AS FROM scheduled;
DROP TABLE scheduled;
CREATE TABLE scheduled (
    job VARCHAR, known_as VARCHAR, user_name VARCHAR, account VARCHAR, partition_name VARCHAR, name VARCHAR,
    owner VARCHAR, state VARCHAR, node_count BIGINT, millicpus BIGINT, gpus BIGINT, gpu_parts VARCHAR,
    memory_bytes BIGINT, submit_us BIGINT, start_us BIGINT, end_us BIGINT, exit_status BIGINT, told_us BIGINT);
INSERT INTO scheduled BY NAME
SELECT * EXCLUDE (cpus), cpus * 1000 AS millicpus, '' AS owner, '' AS gpu_parts FROM scheduled_before;
DROP TABLE scheduled_before;
