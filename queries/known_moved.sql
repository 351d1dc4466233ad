-- Which moved samples need no measurement? Those that the lake has of a run's configurations.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :column config_id VARCHAR key of configs
-- :column sample_id VARCHAR content hash of the sample that was moved
-- :column copy BIGINT number of the moved copy, from 1
-- :unique config_id, sample_id, copy
SELECT c.config_id, s.sample_id, m.copy
FROM runs AS r
JOIN run_configs AS c USING (run_id)
JOIN samples AS s USING (data_id)
JOIN moved_measurements AS m
    ON m.model_id = r.model_id
    AND m.config_id = c.config_id
    AND m.sample_id = s.sample_id
    AND m.runtime = r.runtime
    AND m.numeric_version = r.numeric_version
    AND list_contains(r.outputs, m.output)
WHERE r.run_id = $run_id
GROUP BY c.config_id, s.sample_id, m.copy, len(r.outputs)
HAVING count(DISTINCT m.output) = len(r.outputs)
ORDER BY c.config_id, s.sample_id, m.copy
