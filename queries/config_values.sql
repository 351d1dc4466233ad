-- What is each configuration of a run worth, on the samples that a diagnosis judges by?
--
-- Of a run with several samples those with odd positions. Means over samples per output, then over
-- outputs.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column config_id VARCHAR key of configs
-- :column value DOUBLE? the metric; empty where it is NaN for every sample
-- :unique config_id
WITH judged AS (
    SELECT DISTINCT v.config_id, v.sample, v.output, v.value
    FROM metric_values AS v
    JOIN runs AS r USING (run_id)
    WHERE v.run_id = $run_id
        AND v.metric = known_metric($metric)
        AND (v.sample % 2 = 1 OR r.data_num = 1)
),
per_output AS (
    SELECT config_id, output, mean_of($metric, value, sample) AS value FROM judged GROUP BY ALL
)
SELECT config_id, mean_of($metric, value, output) AS value FROM per_output GROUP BY config_id
