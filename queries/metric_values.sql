-- The results with one row per metric instead of a column for each (also a view).
--
-- :use view
-- :column run_id VARCHAR key of runs
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column config_id VARCHAR key of configs
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column output VARCHAR name of the tensor
-- :column metric VARCHAR cosine-similarity, mse, mre, sqnr or chebyshev
-- :column value DOUBLE? its value; empty where it is NaN
-- :column count BIGINT number of elements
-- :column nonfinite BIGINT number of NaN and Inf in both outputs
-- :column all_zero BOOLEAN whether the float output is all zero
-- :unique run_id, position, sample, output, metric
SELECT
    run_id,
    position,
    subject,
    role,
    config_id,
    sample,
    output,
    replace(metric, '_', '-') AS metric,
    if(isnan(value), NULL, value) AS value,
    count,
    nonfinite,
    all_zero
FROM (
    UNPIVOT results
    ON cosine_similarity, mse, mre, sqnr, chebyshev INTO NAME metric VALUE value
)
