-- Every configuration of every run with its metrics over all samples and outputs (also a view).
--
-- A value is the mean over samples per output, NaN skipped, and then over outputs. Infinite values are
-- left out of a mean, unless there are no others.
--
-- :use view
-- :column run_id VARCHAR key of runs
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column config_id VARCHAR key of configs
-- :column metric VARCHAR cosine-similarity, mse, mre, sqnr or chebyshev
-- :column value DOUBLE? its value; empty where it is NaN for every sample
-- :column infinite BIGINT infinite values, of a sample and output, that the mean leaves out
-- :column all_zero BIGINT values, of a sample and output, whose float output is all zero
-- :column nonfinite BIGINT number of NaN and Inf in the outputs
-- :column elements BIGINT number of elements of the smallest output compared
-- :unique run_id, position, metric
WITH per_output AS (
    SELECT
        run_id,
        position,
        subject,
        role,
        config_id,
        metric,
        output,
        mean_of(metric, value, sample) AS value,
        count(*) FILTER (isinf(value)) AS infinite,
        count(*) FILTER (all_zero) AS all_zero,
        sum(nonfinite) AS nonfinite,
        min(count) AS elements
    FROM metric_values
    GROUP BY ALL
)
SELECT
    run_id,
    position,
    subject,
    role,
    config_id,
    metric,
    mean_of(metric, value, output) AS value,
    left_out(value, infinite) AS infinite,
    sum(all_zero)::BIGINT AS all_zero,
    sum(nonfinite)::BIGINT AS nonfinite,
    min(elements) AS elements
FROM per_output
GROUP BY ALL
