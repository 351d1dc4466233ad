-- Which runs looked closer at this node of the same model? The newest first.
--
-- :use internal
-- :about alike
-- :param run_id VARCHAR a run of the model
-- :param node VARCHAR the node
-- :column evidence VARCHAR distribution, channels or curve
-- :column run_id VARCHAR the run that has it
-- :column metric VARCHAR? the metric that a curve was asked for
-- :column data_num BIGINT number of samples
-- :unique evidence, run_id
WITH alike AS (
    SELECT other.*
    FROM runs AS run
    JOIN runs AS other USING (model_id)
    WHERE run.run_id = $run_id
),
found AS (
    SELECT DISTINCT 'distribution' AS evidence, run_id FROM tensor_summaries WHERE node = $node
    UNION ALL
    SELECT DISTINCT 'channels', run_id FROM channel_summaries WHERE node = $node
    UNION ALL
    SELECT DISTINCT 'curve', run_id FROM run_configs WHERE subject = $node AND role = 'curve'
)
SELECT f.evidence, f.run_id, a.metrics[1] AS metric, a.data_num
FROM found AS f
JOIN alike AS a USING (run_id)
WHERE f.evidence <> 'curve' OR a.state = 'FINISHED'
ORDER BY f.run_id DESC, f.evidence
