-- Which sets of samples were used, and by how many runs? Give runs its data_id to list them.
--
-- :use user
-- :column data_id VARCHAR key of samples
-- :column data VARCHAR? the folder that the newest of the runs named
-- :column samples BIGINT number of samples
-- :column runs BIGINT runs that used it
-- :column models BIGINT models that they ran
-- :column last_used TIMESTAMP start of the newest, in UTC
-- :unique data_id
SELECT
    data_id,
    arg_max(data_path, started_at) AS data,
    any_value(data_num) AS samples,
    count(*) AS runs,
    count(DISTINCT model_id) AS models,
    max(started_at) AS last_used
FROM runs
GROUP BY data_id
ORDER BY last_used DESC, data_id
