-- Every configuration of every run with its metrics over all samples and outputs (also a view).
--
-- A value is the mean over samples per output, NaN skipped, and then over outputs.
--
-- :column run_id VARCHAR key of runs
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column metric VARCHAR cosine-similarity, mse, mre, sqnr or chebyshev
-- :column value DOUBLE its value; NULL where it is NaN for every sample
WITH per_output AS (
    SELECT run_id, position, subject, role, metric, output, avg(value ORDER BY sample) AS value
    FROM metric_values
    GROUP BY ALL
)
SELECT run_id, position, subject, role, metric, avg(value ORDER BY output) AS value
FROM per_output
GROUP BY ALL
