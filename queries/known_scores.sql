-- Which scores of a run are known, whichever run of this lake measured them?
--
-- What was imported is shown, but never taken for a measurement of one's own.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run whose configurations are planned
-- :column config_id VARCHAR key of configs
-- :column sample_id VARCHAR a sample's content hash
-- :column score VARCHAR name of the score
-- :unique config_id, sample_id, score
SELECT DISTINCT c.config_id, r.sample_id, r.score
FROM run_scores AS r
JOIN runs AS run USING (run_id)
JOIN run_configs AS c USING (run_id)
JOIN scores AS v
    ON v.model_id = run.model_id
    AND v.config_id = c.config_id
    AND v.sample_id = r.sample_id
    AND v.score_id = r.score_id
    AND v.runtime = run.runtime
    AND v.numeric_version = run.numeric_version
WHERE r.run_id = $run_id AND v.imported_from IS NULL
