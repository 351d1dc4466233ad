-- The configurations that a run planned, as JSON.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :column position BIGINT place in the plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column config VARCHAR the configuration
-- :unique position
SELECT p.position, p.subject, p.role, c.config
FROM run_configs AS p
JOIN configs AS c USING (config_id)
WHERE p.run_id = $run_id
ORDER BY p.position
