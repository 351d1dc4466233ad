-- Which configurations of a run have all their measurements already, whichever run made them?
--
-- :param run_id VARCHAR a run whose configurations are planned
-- :column config_id VARCHAR key of configs
SELECT config_id
FROM results AS r
JOIN runs USING (run_id)
WHERE run_id = $run_id
GROUP BY config_id
HAVING count(DISTINCT (r.sample, r.output))
    = (SELECT data_num * len(outputs) FROM runs WHERE run_id = $run_id)
