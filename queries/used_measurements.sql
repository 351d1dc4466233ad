-- Which measurements does each run rest on? Whether they were made already or not.
--
-- :use internal
-- :column run_id VARCHAR key of runs
-- :column model_id VARCHAR key of models
-- :column config_id VARCHAR key of configs
-- :column sample_id VARCHAR a sample's content hash
-- :unique run_id, config_id, sample_id
SELECT DISTINCT r.run_id, r.model_id, c.config_id, s.sample_id
FROM runs AS r
JOIN run_configs AS c USING (run_id)
JOIN samples AS s USING (data_id)
