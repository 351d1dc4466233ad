-- Which nodes lose most when only they are quantized? The ranking of one run.
--
-- Metrics are means over samples per output, NaN skipped, then means over outputs. Infinite values are
-- left out of a mean, unless there are no others. A node whose metrics are all NaN ranks first; nodes
-- of equal value keep their topological order.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind sensitivity
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column rank BIGINT 1 is the most sensitive
-- :column subject VARCHAR the node that was quantized
-- :column position BIGINT its place in topological order among the ranked nodes
-- :column op_type VARCHAR operator of a general node, HzCalibration otherwise
-- :column consumers VARCHAR[]? the general nodes that a calibration node feeds
-- :column threshold DOUBLE? largest threshold of a calibration node
-- :column bits BIGINT? width of a calibration node's type
-- :column nonfinite BIGINT number of NaN and Inf in the outputs
-- :column elements BIGINT number of elements of the smallest output compared
-- :column cosine_similarity DOUBLE? mean over samples and outputs
-- :column mse DOUBLE? likewise
-- :column mre DOUBLE? likewise
-- :column sqnr DOUBLE? likewise, in dB
-- :column chebyshev DOUBLE? likewise
-- :column value DOUBLE? the metric that ranks; empty where it is NaN for every sample
-- :column infinite BIGINT infinite values, of a sample and output, that its mean leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :unique position
WITH wide AS (
    SELECT
        run_id,
        position,
        any_value(subject) AS subject,
        any_value(nonfinite) AS nonfinite,
        any_value(elements) AS elements,
        any_value(all_zero) AS all_zero,
        any_value(value) FILTER (metric = 'cosine-similarity') AS cosine_similarity,
        any_value(value) FILTER (metric = 'mse') AS mse,
        any_value(value) FILTER (metric = 'mre') AS mre,
        any_value(value) FILTER (metric = 'sqnr') AS sqnr,
        any_value(value) FILTER (metric = 'chebyshev') AS chebyshev,
        any_value(value) FILTER (metric = known_metric($metric)) AS value,
        any_value(infinite) FILTER (metric = $metric) AS infinite
    FROM subject_values
    WHERE run_id = $run_id AND role = 'only'
    GROUP BY run_id, position
)
SELECT
    row_number() OVER (ORDER BY badness($metric, w.value) DESC NULLS FIRST, w.position) AS rank,
    w.subject,
    w.position,
    coalesce(n.op_type, 'HzCalibration') AS op_type,
    c.consumers,
    list_max(c.thresholds) AS threshold,
    c.bits,
    w.nonfinite,
    w.elements,
    w.cosine_similarity,
    w.mse,
    w.mre,
    w.sqnr,
    w.chebyshev,
    w.value,
    w.infinite,
    w.all_zero
FROM wide AS w
JOIN runs AS run USING (run_id)
LEFT JOIN nodes AS n ON n.model_id = run.model_id AND n.node = w.subject
LEFT JOIN calibration_nodes AS c ON c.model_id = run.model_id AND c.node = w.subject
ORDER BY rank
