-- The finished runs that rank nodes, newest first.
--
-- :use user
-- :about newest
-- :optional node_type VARCHAR only runs that rank these: node, weight or activation
-- :optional model_id VARCHAR only runs of this model
-- :optional family VARCHAR only this run and its steps
-- :optional most BIGINT at most so many
-- :column run_id VARCHAR key of runs
-- :column parent_run_id VARCHAR? the run that it is a step of
-- :column node_type VARCHAR what it ranks
-- :column model_id VARCHAR key of models
-- :column model VARCHAR the model's name for people: its file's stem, with the folder where that says nothing
-- :column data_id VARCHAR key of samples
-- :column outputs VARCHAR[] the tensors that were compared
-- :column metrics VARCHAR[] the metrics asked for, the one that ranks first
-- :unique run_id
WITH ranking AS (
    SELECT
        r.run_id,
        r.parent_run_id,
        json_extract_string(r.parameters, '$.node_type') AS node_type,
        r.model_id,
        model_label(r.model_path, m.name) AS model,
        r.data_id,
        r.outputs,
        r.metrics
    FROM runs AS r
    LEFT JOIN models AS m USING (model_id)
    WHERE r.kind = 'sensitivity' AND r.state = 'FINISHED'
)
FROM ranking
WHERE ($node_type IS NULL OR node_type = $node_type)
    AND ($model_id IS NULL OR model_id = $model_id)
    AND ($family IS NULL OR $family IN (run_id, parent_run_id))
ORDER BY run_id DESC
LIMIT $most::BIGINT
