-- The runs, newest first.
--
-- :column run_id VARCHAR key of runs
-- :column kind VARCHAR the analysis
-- :column state VARCHAR RUNNING, FINISHED, FAILED or KILLED
-- :column started_at TIMESTAMP in UTC
-- :column seconds DOUBLE from start to end; empty while it runs
-- :column model VARCHAR the model's file, or the name of its graph
-- :column data_num BIGINT number of samples
-- :column metrics VARCHAR[] the metrics asked for
-- :column configs BIGINT number of configurations evaluated
-- :column error VARCHAR why it failed
SELECT
    r.run_id,
    r.kind,
    r.state,
    r.started_at,
    date_diff('microseconds', r.started_at, r.ended_at) / 1e6 AS seconds,
    coalesce(r.model_path, m.name) AS model,
    r.data_num,
    r.metrics,
    (SELECT count(DISTINCT config_id) FROM run_configs AS c WHERE c.run_id = r.run_id) AS configs,
    r.error
FROM runs AS r
LEFT JOIN models AS m USING (model_id)
ORDER BY r.run_id DESC
