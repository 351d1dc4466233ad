-- On which samples does quantization hurt most? The samples of one run, the worst first.
--
-- The values are those of the fully quantized model, means over its outputs, NaN skipped. Infinite values
-- are left out of a mean, unless there are no others.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind sensitive-samples
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column rank BIGINT 1 is the worst
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column source VARCHAR the file, or the place in the arrays that were given
-- :column value DOUBLE? the metric; empty where it is NaN
-- :column infinite BIGINT outputs whose value is infinite and left out
-- :column all_zero BIGINT outputs that are all zero in the float model
-- :unique sample
WITH per_sample AS (
    SELECT
        run_id,
        sample,
        metric,
        mean_of(metric, value, output) AS value,
        left_out(value, isinf(value)::BIGINT) AS infinite,
        count(*) FILTER (all_zero) AS all_zero
    FROM metric_values
    WHERE run_id = $run_id AND metric = known_metric($metric) AND role = 'reference'
    GROUP BY ALL
)
SELECT
    row_number() OVER (
        ORDER BY badness(p.metric, p.value) DESC NULLS FIRST, p.sample
    ) AS rank,
    p.sample,
    s.source,
    p.value,
    p.infinite,
    p.all_zero
FROM per_sample AS p
JOIN runs USING (run_id)
JOIN samples AS s ON s.data_id = runs.data_id AND s.position = p.sample
ORDER BY rank
