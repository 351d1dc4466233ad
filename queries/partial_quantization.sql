-- What does partial quantization give? The steps of one sensitivity analysis.
--
-- Values are means over samples per output, NaN skipped, then over outputs.
--
-- :param run_id VARCHAR a run of kind sensitivity-analysis
-- :param metric VARCHAR the metric, such as cosine-similarity
-- :column step BIGINT 0 is the fully quantized model, then one step per sensitive node
-- :column node VARCHAR the node that is not quantized from here on; none at step 0
-- :column config_id VARCHAR key of configs: the partial quantization
-- :column single DOUBLE the metric when only this node is quantized
-- :column partial DOUBLE the metric when this node and those before it are not quantized
WITH per_output AS (
    SELECT position, subject, role, config_id, output, avg(value ORDER BY sample) AS value
    FROM metric_values
    WHERE run_id = $run_id AND metric = $metric
    GROUP BY ALL
),
per_config AS (
    SELECT position, subject, role, config_id, avg(value ORDER BY output) AS value
    FROM per_output
    GROUP BY ALL
)
SELECT
    row_number() OVER (ORDER BY p.position) - 1 AS step,
    p.subject AS node,
    p.config_id,
    s.value AS single,
    p.value AS partial
FROM per_config AS p
LEFT JOIN per_config AS s ON s.subject = p.subject AND s.role = 'only'
WHERE p.role = 'partial'
ORDER BY step
