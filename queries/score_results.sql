-- What does each configuration of a run score, and what does it lose against the float model?
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run with scores
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it: only, reference (all quantized), partial, ...
-- :column config_id VARCHAR key of configs
-- :column place BIGINT place of the score among those of the run; 0 ranks
-- :column score VARCHAR name of the score
-- :column higher_is_better BOOLEAN whether a larger value is a better one
-- :column samples BIGINT number of samples that it rests on
-- :column value DOUBLE of the quantized outputs, over all samples
-- :column float_value DOUBLE the same of the float outputs
-- :column lost DOUBLE how much worse than in float; below zero where it is better
-- :column value_low DOUBLE? interval of the value; empty where there is none
-- :column value_high DOUBLE? likewise
-- :column lost_low DOUBLE? interval of what is lost, paired by sample
-- :column lost_high DOUBLE? likewise
-- :column method VARCHAR wilson-newcombe, student, bootstrap or none
-- :column level DOUBLE how often such intervals hold what they are of
-- :column worse BIGINT? samples that score worse than in float; empty of a class
-- :column better BIGINT? samples that score better; likewise
-- :unique position, score
SELECT
    c.position,
    c.subject,
    c.role,
    c.config_id,
    r.place,
    t.score,
    r.higher_is_better,
    t.samples,
    t.value,
    t.float_value,
    if(r.higher_is_better, t.float_value - t.value, t.value - t.float_value) AS lost,
    t.value_low,
    t.value_high,
    t.drop_low AS lost_low,
    t.drop_high AS lost_high,
    t.method,
    t.level,
    t.worse,
    t.better
FROM score_totals AS t
JOIN run_configs AS c USING (run_id, position)
JOIN (SELECT DISTINCT run_id, score, place, higher_is_better FROM run_scores) AS r
    USING (run_id, score)
WHERE t.run_id = $run_id
ORDER BY r.place, c.position
