-- Which nodes lose most when only they are quantized? The ranking of one run.
--
-- Metrics are means over samples per output, NaN skipped, then means over outputs. A node whose
-- metrics are all NaN ranks first; nodes of equal value keep their topological order.
--
-- :param run_id VARCHAR a run of kind sensitivity
-- :param metric VARCHAR the metric that ranks, such as cosine-similarity
-- :column rank BIGINT 1 is the most sensitive
-- :column subject VARCHAR the node that was quantized
-- :column position BIGINT its place in topological order among the ranked nodes
-- :column op_type VARCHAR operator of a general node, HzCalibration otherwise
-- :column consumers VARCHAR[] the general nodes that a calibration node feeds
-- :column threshold DOUBLE largest threshold of a calibration node
-- :column bits BIGINT width of a calibration node's type
-- :column nonfinite BIGINT number of NaN and Inf in the outputs
-- :column elements BIGINT number of elements of the smallest output compared
-- :column cosine_similarity DOUBLE mean over samples and outputs
-- :column mse DOUBLE likewise
-- :column mre DOUBLE likewise
-- :column sqnr DOUBLE likewise, in dB
-- :column chebyshev DOUBLE likewise
WITH compared AS (
    SELECT
        config_id,
        output,
        sample,
        nonfinite,
        count,
        if(isnan(cosine_similarity), NULL, cosine_similarity) AS cosine_similarity,
        if(isnan(mse), NULL, mse) AS mse,
        if(isnan(mre), NULL, mre) AS mre,
        if(isnan(sqnr), NULL, sqnr) AS sqnr,
        if(isnan(chebyshev), NULL, chebyshev) AS chebyshev
    FROM results
    WHERE run_id = $run_id AND role = 'only'
    -- Several nodes may share a configuration; it counts once here and gives them equal values.
    QUALIFY row_number() OVER (PARTITION BY config_id, output, sample ORDER BY position) = 1
),
per_output AS (
    -- Sums in a fixed order, so that the last digits do not depend on threads.
    SELECT
        config_id,
        output,
        sum(nonfinite) AS nonfinite,
        min(count) AS elements,
        avg(cosine_similarity ORDER BY sample) AS cosine_similarity,
        avg(mse ORDER BY sample) AS mse,
        avg(mre ORDER BY sample) AS mre,
        avg(sqnr ORDER BY sample) AS sqnr,
        avg(chebyshev ORDER BY sample) AS chebyshev
    FROM compared
    GROUP BY config_id, output
),
per_config AS (
    SELECT
        config_id,
        sum(nonfinite)::BIGINT AS nonfinite,
        min(elements) AS elements,
        avg(cosine_similarity ORDER BY output) AS cosine_similarity,
        avg(mse ORDER BY output) AS mse,
        avg(mre ORDER BY output) AS mre,
        avg(sqnr ORDER BY output) AS sqnr,
        avg(chebyshev ORDER BY output) AS chebyshev
    FROM per_output
    GROUP BY config_id
),
valued AS (
    SELECT
        rc.subject,
        rc.position,
        coalesce(n.op_type, 'HzCalibration') AS op_type,
        c.consumers,
        list_max(c.thresholds) AS threshold,
        c.bits,
        p.nonfinite,
        p.elements,
        p.cosine_similarity,
        p.mse,
        p.mre,
        p.sqnr,
        p.chebyshev,
        CASE $metric
            WHEN 'cosine-similarity' THEN -p.cosine_similarity
            WHEN 'sqnr' THEN -p.sqnr
            WHEN 'mse' THEN p.mse
            WHEN 'mre' THEN p.mre
            WHEN 'chebyshev' THEN p.chebyshev
            ELSE error('no metric of this name: ' || $metric)
        END AS badness
    FROM run_configs AS rc
    JOIN runs AS run USING (run_id)
    JOIN per_config AS p USING (config_id)
    LEFT JOIN nodes AS n ON n.model_id = run.model_id AND n.node = rc.subject
    LEFT JOIN calibration_nodes AS c ON c.model_id = run.model_id AND c.node = rc.subject
    WHERE rc.run_id = $run_id AND rc.role = 'only'
)
SELECT
    row_number() OVER (ORDER BY badness DESC NULLS FIRST, position) AS rank,
    subject,
    position,
    op_type,
    consumers,
    threshold,
    bits,
    nonfinite,
    elements,
    cosine_similarity,
    mse,
    mre,
    sqnr,
    chebyshev
FROM valued
ORDER BY rank
