-- How does the error grow from node to node? The curves of one run.
--
-- A point is the mean over samples, NaN skipped, and over the outputs of the node. With average_mode a
-- point is the mean of the curve's first n points.
--
-- :param run_id VARCHAR a run of kind error-accumulation
-- :param metric VARCHAR the metric, such as cosine-similarity
-- :param average_mode BOOLEAN whether to give the running mean
-- :column curve VARCHAR name of the curve
-- :column position BIGINT place of the curve in the run
-- :column role VARCHAR curve, or reference for the fully quantized model
-- :column step BIGINT place of the node among those compared, from 0, in topological order
-- :column node VARCHAR the general node whose output is compared
-- :column op_type VARCHAR its operator
-- :column value DOUBLE the metric, or its running mean
WITH per_output AS (
    SELECT position, subject, role, output, avg(value ORDER BY sample) AS value
    FROM metric_values
    WHERE run_id = $run_id AND metric = $metric
    GROUP BY ALL
),
producers AS (
    SELECT n.node, n.node_index, n.op_type, unnest(n.outputs) AS output
    FROM nodes AS n
    JOIN runs USING (model_id)
    WHERE run_id = $run_id
),
per_node AS (
    SELECT p.position, p.subject, p.role, n.node, n.node_index, n.op_type,
        avg(p.value ORDER BY p.output) AS value
    FROM per_output AS p
    JOIN producers AS n USING (output)
    GROUP BY ALL
)
SELECT
    subject AS curve,
    position,
    role,
    dense_rank() OVER (ORDER BY node_index) - 1 AS step,
    node,
    op_type,
    CASE WHEN $average_mode THEN
        avg(value) OVER (PARTITION BY position ORDER BY node_index ROWS UNBOUNDED PRECEDING)
    ELSE value END AS value
FROM per_node
ORDER BY position, step
