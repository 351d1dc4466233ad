-- The runs, newest first.
--
-- :use user
-- :about newest
-- :optional run VARCHAR only runs whose id begins with this
-- :optional kind VARCHAR only runs of this kind
-- :optional state VARCHAR only runs in this state
-- :optional model VARCHAR only runs whose model has this text in its name, or this model_id
-- :optional data VARCHAR only runs whose data has this text in its path, or this data_id
-- :optional since TIMESTAMP only runs that started then or later, in UTC
-- :optional steps BOOLEAN=true false leaves out runs that are steps of another
-- :optional model_id VARCHAR only runs of this model
-- :optional family VARCHAR only this run and its steps
-- :optional most BIGINT at most so many
-- :column run_id VARCHAR key of runs
-- :column kind VARCHAR the analysis
-- :column state VARCHAR RUNNING, FINISHED, FAILED or KILLED
-- :column started_at TIMESTAMP in UTC
-- :column seconds DOUBLE? from start to end; empty while it runs
-- :column model VARCHAR the model's name for people: its file's stem, with the folder where that says nothing
-- :column model_path VARCHAR? the model file; empty if it was given as an object
-- :column data_num BIGINT number of samples
-- :column metrics VARCHAR[] the metrics asked for
-- :column configs BIGINT number of configurations planned
-- :column error VARCHAR? why it failed
-- :column model_id VARCHAR key of models
-- :column data VARCHAR? the data folder; empty if arrays were given
-- :column data_id VARCHAR key of samples
-- :column worst_node VARCHAR? the most sensitive node that it found
-- :column worst_value DOUBLE? the first metric of that node
-- :column whole_value DOUBLE? the first metric of the fully quantized model
-- :column tags VARCHAR[] the tags that point at it
-- :column parent_run_id VARCHAR? the run that it is a step of
-- :column mlflow_run_id VARCHAR? the run in MLflow
-- :column mlflow_uri VARCHAR? where MLflow keeps it, without secrets
-- :column note VARCHAR? what somebody remarked on it
-- :unique run_id
SELECT
    r.run_id,
    r.kind,
    r.state,
    r.started_at,
    date_diff('microseconds', r.started_at, r.ended_at) / 1e6 AS seconds,
    model_label(r.model_path, m.name) AS model,
    r.model_path,
    r.data_num,
    r.metrics,
    coalesce(c.configs, 0) AS configs,
    r.error,
    r.model_id,
    r.data_path AS data,
    r.data_id,
    r.worst_node,
    r.worst_value,
    r.whole_value,
    coalesce(t.tags, []) AS tags,
    r.parent_run_id,
    r.mlflow_run_id,
    r.mlflow_uri,
    nullif(o.note, '') AS note
FROM runs AS r
LEFT JOIN models AS m USING (model_id)
LEFT JOIN (
    SELECT run_id, count(DISTINCT config_id) AS configs FROM run_configs GROUP BY run_id
) AS c USING (run_id)
LEFT JOIN (SELECT run_id, list(tag ORDER BY tag) AS tags FROM tags GROUP BY run_id) AS t
    USING (run_id)
LEFT JOIN notes AS o USING (run_id)
WHERE ($run IS NULL OR starts_with(r.run_id, $run))
    AND ($kind IS NULL OR r.kind = $kind)
    AND ($state IS NULL OR r.state = $state)
    AND (
        $model IS NULL
        OR contains(lower(coalesce(r.model_path, m.name)), lower($model))
        OR r.model_id = $model
    )
    AND ($data IS NULL OR contains(lower(r.data_path), lower($data)) OR r.data_id = $data)
    AND ($since IS NULL OR r.started_at >= $since::TIMESTAMP)
    AND ($steps::BOOLEAN OR r.parent_run_id IS NULL)
    AND ($model_id IS NULL OR r.model_id = $model_id)
    AND ($family IS NULL OR $family IN (r.run_id, r.parent_run_id))
ORDER BY r.run_id DESC
LIMIT $most::BIGINT
