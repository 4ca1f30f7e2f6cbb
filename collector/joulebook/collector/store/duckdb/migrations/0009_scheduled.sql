-- What schedulers told of jobs, whether anything was booked to them or not; '' and NULL: not told.
CREATE TABLE scheduled (
    job VARCHAR, known_as VARCHAR, user_name VARCHAR, account VARCHAR, partition_name VARCHAR, name VARCHAR,
    state VARCHAR, node_count BIGINT, cpus BIGINT, gpus BIGINT, memory_bytes BIGINT, submit_us BIGINT,
    start_us BIGINT, end_us BIGINT, exit_status BIGINT, told_us BIGINT);
