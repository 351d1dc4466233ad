-- On which samples does quantization hurt most? The samples of one run, the worst first.
--
-- The values are those of the fully quantized model, means over its outputs, NaN skipped.
--
-- :param run_id VARCHAR a run of kind sensitive-samples
-- :param metric VARCHAR the metric that ranks, such as cosine-similarity
-- :column rank BIGINT 1 is the worst
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column source VARCHAR the file, or the place in the arrays that were given
-- :column value DOUBLE the metric
WITH per_sample AS (
    SELECT run_id, sample, avg(value ORDER BY output) AS value
    FROM metric_values
    WHERE run_id = $run_id AND metric = $metric
    GROUP BY ALL
)
SELECT
    row_number() OVER (
        ORDER BY
            if($metric IN ('cosine-similarity', 'sqnr'), -value, value) DESC NULLS FIRST,
            sample
    ) AS rank,
    p.sample,
    s.source,
    p.value
FROM per_sample AS p
JOIN runs USING (run_id)
JOIN samples AS s ON s.data_id = runs.data_id AND s.position = p.sample
ORDER BY rank
