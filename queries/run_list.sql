-- The runs with what they were about, newest first; the steps of a run come with it.
--
-- :use internal
-- :about newest
-- :optional family VARCHAR only this run and its steps
-- :column run_id VARCHAR key of runs
-- :column parent_run_id VARCHAR? the run that this one is a step of
-- :column kind VARCHAR the analysis
-- :column state VARCHAR RUNNING, FINISHED, FAILED or KILLED
-- :column started_at TIMESTAMP in UTC
-- :column seconds DOUBLE? from start to end; empty while it runs
-- :column model_id VARCHAR key of models
-- :column model_path VARCHAR? the model file; empty if it was given as an object
-- :column model VARCHAR the model's name for people: its file's stem, with the folder where that says nothing
-- :column data_path VARCHAR? the data folder; empty if arrays were given
-- :column data_num BIGINT number of samples
-- :column metrics VARCHAR[] the metrics asked for
-- :column parameters VARCHAR what the user passed, as JSON
-- :column error VARCHAR? why it failed
-- :column worst_node VARCHAR? the most sensitive node that it found
-- :column worst_value DOUBLE? the first metric of that node
-- :column whole_value DOUBLE? the first metric of the fully quantized model
-- :column mlflow_run_id VARCHAR? the run in MLflow; empty if it is not tracked there
-- :column updated_at TIMESTAMP in UTC, of its newest row
-- :column note VARCHAR? what somebody remarked on it
-- :unique run_id
SELECT
    r.run_id,
    r.parent_run_id,
    r.kind,
    r.state,
    r.started_at,
    date_diff('microseconds', r.started_at, r.ended_at) / 1e6 AS seconds,
    r.model_id,
    r.model_path,
    model_label(r.model_path, m.name) AS model,
    r.data_path,
    r.data_num,
    r.metrics,
    r.parameters,
    r.error,
    r.worst_node,
    r.worst_value,
    r.whole_value,
    r.mlflow_run_id,
    r.updated_at,
    nullif(o.note, '') AS note
FROM runs AS r
LEFT JOIN models AS m USING (model_id)
LEFT JOIN notes AS o USING (run_id)
WHERE $family IS NULL OR $family IN (r.run_id, r.parent_run_id)
ORDER BY coalesce(r.parent_run_id, r.run_id) DESC, r.parent_run_id NULLS FIRST, r.run_id
