-- For which configurations and samples of a run are all outputs measured, whichever run did it?
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run whose configurations are planned
-- :column config_id VARCHAR key of configs
-- :column sample_id VARCHAR a sample's content hash
-- :unique config_id, sample_id
SELECT
    m.config_id,
    m.sample_id
FROM runs AS r
JOIN (SELECT DISTINCT run_id, config_id FROM run_configs) AS c USING (run_id)
JOIN (SELECT DISTINCT data_id, sample_id FROM samples) AS s USING (data_id)
JOIN measurements AS m
    ON m.model_id = r.model_id
    AND m.config_id = c.config_id
    AND m.sample_id = s.sample_id
    AND m.runtime = r.runtime
    AND m.numeric_version = r.numeric_version
    AND list_contains(r.outputs, m.output)
WHERE r.run_id = $run_id
GROUP BY m.config_id, m.sample_id
HAVING count(DISTINCT m.output) = (SELECT len(outputs) FROM runs WHERE run_id = $run_id)
