-- What mends each node? The remedies that one diagnosis has measured, the best of each node first.
--
-- Only the node is quantized, before as calibrated and after with the remedy. Values are means over the
-- judged samples per output, then over outputs: of a run with several samples those with odd
-- positions; the remedies were fitted on the others.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind diagnosis
-- :optional metric VARCHAR='cosine-similarity' the metric of before, after and the order
-- :column position BIGINT place of the general node, 0 is the worst
-- :column subject VARCHAR the general node
-- :column rank BIGINT 1 is the best of the remedies of the same price of this node
-- :column remedy VARCHAR in words
-- :column family VARCHAR threshold, asymmetric, per-channel, bias, int16, ...
-- :column price VARCHAR free, int16, float16 or float32
-- :column nodes VARCHAR[] the calibration nodes that do something else
-- :column before DOUBLE? the metric without it; empty where it is NaN
-- :column after DOUBLE? the metric with it; empty where it is NaN
-- :column gain DOUBLE how much less bad after is, in the unit of the metric; below 0 it is worse
-- :column before_error DOUBLE? sum of (x - y)^2 over sum of x^2 without it, mean over outputs
-- :column after_error DOUBLE? the same with it
-- :column config_id VARCHAR key of configs: the node with the remedy
-- :unique subject, remedy
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
),
valued AS (
    SELECT config_id, mean_of($metric, value, output) AS value FROM per_output GROUP BY ALL
),
summed AS (
    SELECT
        m.config_id,
        m.output,
        sum(m.sum_dd ORDER BY s.position) / nullif(sum(m.sum_xx ORDER BY s.position), 0) AS share
    FROM runs AS r
    JOIN samples AS s USING (data_id)
    JOIN measurements AS m
        ON m.model_id = r.model_id AND m.sample_id = s.sample_id AND m.runtime = r.runtime
        AND m.numeric_version = r.numeric_version AND m.output IN r.outputs
    WHERE r.run_id = $run_id AND (s.position % 2 = 1 OR r.data_num = 1)
    GROUP BY ALL
),
errors AS (
    SELECT config_id, avg(share ORDER BY output) AS error FROM summed GROUP BY ALL
),
joined AS (
    SELECT
        t.*,
        $metric AS metric,
        b.value AS before,
        a.value AS after,
        be.error AS before_error,
        ae.error AS after_error
    FROM remedies AS t
    LEFT JOIN valued AS b ON b.config_id = t.before_id
    LEFT JOIN valued AS a ON a.config_id = t.after_id
    LEFT JOIN errors AS be ON be.config_id = t.before_id
    LEFT JOIN errors AS ae ON ae.config_id = t.after_id
    WHERE t.run_id = $run_id
)
SELECT
    position,
    subject,
    row_number() OVER (
        PARTITION BY subject, price
        ORDER BY badness(metric, after) NULLS LAST, place
    ) AS rank,
    remedy,
    family,
    price,
    nodes,
    before,
    after,
    -drop_of(metric, before, after) AS gain,
    before_error,
    after_error,
    after_id AS config_id
FROM joined
ORDER BY position, badness(metric, after) NULLS LAST, place
