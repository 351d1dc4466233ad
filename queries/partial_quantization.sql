-- What does partial quantization give? The steps of one sensitivity analysis.
--
-- Values are means over samples per output, NaN skipped, then over outputs. Infinite values are left
-- out of a mean, unless there are no others.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind sensitivity-analysis
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column step BIGINT 0 is the fully quantized model, then one step per sensitive node
-- :column node VARCHAR the node that is not quantized from here on; none at step 0
-- :column config_id VARCHAR key of configs: the partial quantization
-- :column single DOUBLE? the metric when only this node is quantized
-- :column partial DOUBLE? the metric when this node and those before it are not quantized
-- :column infinite BIGINT infinite values, of a sample and output, that partial leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :unique step
WITH valued AS (
    FROM subject_values WHERE run_id = $run_id AND metric = known_metric($metric)
)
SELECT
    row_number() OVER (ORDER BY p.position) - 1 AS step,
    p.subject AS node,
    p.config_id,
    s.value AS single,
    p.value AS partial,
    p.infinite,
    p.all_zero
FROM valued AS p
LEFT JOIN valued AS s ON s.subject = p.subject AND s.role = 'only'
WHERE p.role = 'partial'
ORDER BY step
