-- Which nodes lose most when only they are quantized? The ranking of one run.
--
-- Metrics are means over samples per output, NaN skipped, then means over outputs. Infinite values are
-- left out of a mean, unless there are no others. A node whose metrics are all NaN ranks first; nodes
-- of equal value keep their topological order.
--
-- :use user
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
WITH valued AS (
    SELECT * FROM subject_values WHERE run_id = $run_id AND role = 'only'
),
wide AS (
    SELECT
        position,
        any_value(value) FILTER (metric = 'cosine-similarity') AS cosine_similarity,
        any_value(value) FILTER (metric = 'mse') AS mse,
        any_value(value) FILTER (metric = 'mre') AS mre,
        any_value(value) FILTER (metric = 'sqnr') AS sqnr,
        any_value(value) FILTER (metric = 'chebyshev') AS chebyshev
    FROM valued
    GROUP BY position
)
SELECT
    row_number() OVER (
        ORDER BY badness(v.metric, v.value) DESC NULLS FIRST, v.position
    ) AS rank,
    v.subject,
    v.position,
    coalesce(n.op_type, 'HzCalibration') AS op_type,
    c.consumers,
    list_max(c.thresholds) AS threshold,
    c.bits,
    v.nonfinite,
    v.elements,
    w.cosine_similarity,
    w.mse,
    w.mre,
    w.sqnr,
    w.chebyshev,
    v.value,
    v.infinite,
    v.all_zero
FROM valued AS v
JOIN wide AS w USING (position)
JOIN runs AS run USING (run_id)
LEFT JOIN nodes AS n ON n.model_id = run.model_id AND n.node = v.subject
LEFT JOIN calibration_nodes AS c ON c.model_id = run.model_id AND c.node = v.subject
WHERE v.metric = known_metric($metric)
ORDER BY rank
