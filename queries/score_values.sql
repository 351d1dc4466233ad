-- What did a score make of each sample? Every configuration of a run, and the float model beside it.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run with scores
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it: only, reference (all quantized), partial, ...
-- :column config_id VARCHAR key of configs
-- :column place BIGINT place of the score among those of the run
-- :column score VARCHAR name of the score
-- :column score_id VARCHAR hash of the score's source, the sample's label and the outputs
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column source VARCHAR the file, or the place in the arrays that were given
-- :column value DOUBLE? the score of the quantized outputs; empty of a class
-- :column float_value DOUBLE? the score of the float outputs; empty of a class
-- :column part VARCHAR? what a class keeps of the sample, as JSON
-- :column float_part VARCHAR? the same of the float outputs
-- :unique position, score, sample
SELECT
    c.position,
    c.subject,
    c.role,
    c.config_id,
    r.place,
    r.score,
    r.score_id,
    r.sample,
    s.source,
    v.value,
    v.float_value,
    v.part,
    v.float_part
FROM run_scores AS r
JOIN runs AS run USING (run_id)
JOIN run_configs AS c USING (run_id)
JOIN samples AS s ON s.data_id = run.data_id AND s.position = r.sample
JOIN scores AS v
    ON v.model_id = run.model_id
    AND v.config_id = c.config_id
    AND v.sample_id = r.sample_id
    AND v.score_id = r.score_id
    AND v.runtime = run.runtime
    AND v.numeric_version = run.numeric_version
WHERE r.run_id = $run_id
ORDER BY r.place, c.position, r.sample
