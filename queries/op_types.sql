-- Which operators lose most when quantized alone? The newest finished ranking of nodes of each model.
--
-- :use user
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column op_type VARCHAR the operator
-- :column nodes BIGINT nodes ranked
-- :column models BIGINT models that have it
-- :column median DOUBLE median of the metric over its nodes
-- :column worst DOUBLE its worst value
-- :column worst_node VARCHAR the node that has it
-- :column infinite BIGINT nodes whose value is infinite; the median leaves them out, unless all are
-- :unique op_type
WITH newest AS (
    SELECT max(run_id) AS run_id
    FROM runs
    WHERE kind = 'sensitivity'
        AND state = 'FINISHED'
        AND json_extract_string(parameters, '$.node_type') = 'node'
    GROUP BY model_id
),
valued AS (
    SELECT
        n.op_type,
        n.model_id,
        k.node,
        k.value,
        badness(k.metric, k.value) AS badness,
        k.infinite
    FROM ranked AS k
    JOIN newest USING (run_id)
    JOIN nodes AS n ON n.model_id = k.model_id AND n.node = k.node
    WHERE k.metric = known_metric($metric) AND k.value IS NOT NULL
)
SELECT
    op_type,
    count(*) AS nodes,
    count(DISTINCT model_id) AS models,
    coalesce(
        median(value) FILTER (isfinite(value)),
        arg_max(value, badness)
    ) AS median,
    arg_max(value, badness) AS worst,
    arg_max(node, badness) AS worst_node,
    count(*) FILTER (isinf(value)) AS infinite
FROM valued
GROUP BY op_type
ORDER BY badness($metric, median) DESC, op_type
