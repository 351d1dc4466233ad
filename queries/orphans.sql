-- Which keys lead nowhere? None do in a lake that is whole.
--
-- Runs that are still starting may be among them for a moment.
--
-- :use internal
-- :column source VARCHAR the table and column that has the key
-- :column target VARCHAR the table that lacks it
-- :column keys BIGINT number of keys that lead nowhere
-- :column example VARCHAR one of them
-- :unique source
WITH lost AS (
    SELECT 'runs.model_id' AS source, 'models' AS target, model_id AS key
    FROM runs ANTI JOIN models USING (model_id)
    UNION ALL
    SELECT 'runs.data_id', 'samples', data_id FROM runs ANTI JOIN samples USING (data_id)
    UNION ALL
    SELECT 'run_configs.run_id', 'runs', run_id FROM run_configs ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'run_configs.config_id', 'configs', config_id
    FROM run_configs ANTI JOIN configs USING (config_id)
    UNION ALL
    SELECT 'measurements.config_id', 'configs', config_id
    FROM measurements ANTI JOIN configs USING (config_id)
    UNION ALL
    SELECT 'measurements.model_id', 'models', model_id
    FROM measurements ANTI JOIN models USING (model_id)
    UNION ALL
    SELECT 'moved_measurements.config_id', 'configs', config_id
    FROM moved_measurements ANTI JOIN configs USING (config_id)
    UNION ALL
    SELECT 'moved_measurements.model_id', 'models', model_id
    FROM moved_measurements ANTI JOIN models USING (model_id)
    UNION ALL
    SELECT 'confidence.run_id', 'runs', run_id FROM confidence ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'nodes.model_id', 'models', model_id FROM nodes ANTI JOIN models USING (model_id)
    UNION ALL
    SELECT 'tensor_summaries.run_id', 'runs', run_id
    FROM tensor_summaries ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'histograms.run_id', 'runs', run_id FROM histograms ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'channel_summaries.run_id', 'runs', run_id
    FROM channel_summaries ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'local_errors.run_id', 'runs', run_id FROM local_errors ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'causes.run_id', 'runs', run_id FROM causes ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'remedies.run_id', 'runs', run_id FROM remedies ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'mending_steps.run_id', 'runs', run_id
    FROM mending_steps ANTI JOIN runs USING (run_id)
    UNION ALL
    SELECT 'tags.run_id', 'runs', t.run_id
    FROM tags AS t ANTI JOIN runs USING (run_id)
    WHERE t.run_id IS NOT NULL
    UNION ALL
    SELECT 'notes.run_id', 'runs', t.run_id
    FROM notes AS t ANTI JOIN runs USING (run_id)
)
SELECT source, target, count(DISTINCT key) AS keys, min(key) AS example
FROM lost
WHERE key IS NOT NULL
GROUP BY source, target
ORDER BY source
