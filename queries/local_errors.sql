-- How far does each quantizer move its own tensor? The local errors of one run, the worst first.
--
-- x is what the quantizer takes in, in the float model. Own: x against x quantized, so its rounding and
-- clipping alone. Accumulated: x against what it gives out in the fully quantized model, so with all that
-- comes before it. Sums over all samples, so that one with large values counts more. They say where
-- values change, not what that costs at the model's output.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind local-errors
-- :optional metric VARCHAR='cosine-similarity' the metric of own, accumulated and the ranking
-- :optional by VARCHAR='own' what ranks: own or accumulated
-- :column rank BIGINT 1 is the worst
-- :column node VARCHAR the calibration node
-- :column kind VARCHAR? weight or activation
-- :column consumers VARCHAR[]? the general nodes that read it
-- :column position BIGINT its place in topological order
-- :column qtype VARCHAR? its type
-- :column samples BIGINT number of samples; 0 for a weight, which is the same in all
-- :column elements BIGINT number of elements, of all samples together
-- :column nonfinite BIGINT number of NaN and Inf among them
-- :column own DOUBLE? the metric of its own error; empty where it is NaN
-- :column accumulated DOUBLE? the metric of the accumulated error; empty where it is NaN
-- :column own_cosine_similarity DOUBLE? x.y / (max(|x|, 1e-8) max(|y|, 1e-8)) of its own error
-- :column own_sqnr DOUBLE? 20 log10(|x| / |d|) in dB of its own error
-- :column accumulated_cosine_similarity DOUBLE? likewise of the accumulated error
-- :column accumulated_sqnr DOUBLE? likewise, in dB
-- :unique node
WITH summed AS (
    -- In a fixed order, so that the last digits do not depend on threads.
    SELECT
        node,
        error,
        any_value(position) AS position,
        count(sample_id) AS samples,
        sum(count)::BIGINT AS elements,
        sum(nonfinite_x + nonfinite_y)::BIGINT AS nonfinite,
        sum(sum_xx ORDER BY sample_id) AS xx,
        sum(sum_yy ORDER BY sample_id) AS yy,
        sum(sum_xy ORDER BY sample_id) AS xy,
        sum(sum_dd ORDER BY sample_id) AS dd,
        sum(sum_abs_d ORDER BY sample_id) AS abs_d,
        sum(sum_abs_x ORDER BY sample_id) AS abs_x,
        max(max_abs_d) AS chebyshev
    FROM local_errors
    WHERE run_id = $run_id
    GROUP BY node, error
),
measured AS (
    SELECT
        *,
        cosine_of(xx, yy, xy, dd) AS cosine,
        sqnr_of(xx, dd) AS sqnr,
        MAP {
            'cosine-similarity': cosine,
            'mse': dd / elements,
            'mre': mre_of(abs_d, abs_x),
            'sqnr': sqnr,
            'chebyshev': chebyshev
        }[$metric] AS value
    FROM summed
),
wide AS (
    SELECT
        node,
        any_value(position) AS position,
        max(samples) AS samples,
        max(elements) AS elements,
        max(nonfinite) AS nonfinite,
        any_value(if(isnan(value), NULL, value)) FILTER (error = 'own') AS own,
        any_value(if(isnan(value), NULL, value)) FILTER (error = 'accumulated') AS accumulated,
        any_value(if(isnan(cosine), NULL, cosine)) FILTER (error = 'own') AS own_cosine_similarity,
        any_value(if(isnan(sqnr), NULL, sqnr)) FILTER (error = 'own') AS own_sqnr,
        any_value(if(isnan(cosine), NULL, cosine)) FILTER (error = 'accumulated') AS accumulated_cosine_similarity,
        any_value(if(isnan(sqnr), NULL, sqnr)) FILTER (error = 'accumulated') AS accumulated_sqnr
    FROM measured
    GROUP BY node
),
valued AS (
    SELECT
        w.*,
        c.kind,
        c.consumers,
        c.qtype,
        $metric AS metric,
        if($by = 'accumulated', accumulated, own) AS value
    FROM wide AS w
    JOIN runs AS r ON r.run_id = $run_id
    LEFT JOIN calibration_nodes AS c ON c.model_id = r.model_id AND c.node = w.node
    WHERE known_metric($metric) = $metric
        AND CASE
            WHEN $by IN ('own', 'accumulated') THEN true
            ELSE error('by is own or accumulated, not ' || $by)
        END
)
SELECT
    row_number() OVER (ORDER BY badness(metric, value) DESC NULLS FIRST, position) AS rank,
    node,
    kind,
    consumers,
    position,
    qtype,
    samples,
    elements,
    nonfinite,
    own,
    accumulated,
    own_cosine_similarity,
    own_sqnr,
    accumulated_cosine_similarity,
    accumulated_sqnr
FROM valued
ORDER BY rank
