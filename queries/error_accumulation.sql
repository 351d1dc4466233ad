-- How does the error grow from node to node? The curves of one run.
--
-- A point is the mean over samples, NaN skipped, and over the outputs of the node. With average_mode a
-- point is the mean of the curve's first n points. Infinite values are left out of a mean, unless there
-- are no others.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind error-accumulation
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :optional average_mode BOOLEAN=false whether to give the running mean
-- :column curve VARCHAR name of the curve
-- :column position BIGINT place of the curve in the run
-- :column role VARCHAR curve, or reference for the fully quantized model
-- :column step BIGINT place of the node among those compared, from 0, in topological order
-- :column node VARCHAR the general node whose output is compared
-- :column op_type VARCHAR its operator
-- :column value DOUBLE? the metric, or its running mean; empty where it is NaN
-- :column infinite BIGINT infinite values that the mean leaves out
-- :column all_zero BIGINT values of it whose float output is all zero
-- :unique position, step
WITH per_output AS (
    SELECT
        position,
        subject,
        role,
        metric,
        output,
        mean_of(metric, value, sample) AS value,
        count(*) FILTER (isinf(value)) AS infinite,
        count(*) FILTER (all_zero) AS all_zero
    FROM metric_values
    WHERE run_id = $run_id AND metric = known_metric($metric)
    GROUP BY ALL
),
producers AS (
    SELECT n.node, n.node_index, n.op_type, unnest(n.outputs) AS output
    FROM nodes AS n
    JOIN runs USING (model_id)
    WHERE run_id = $run_id
),
per_node AS (
    SELECT
        p.position,
        p.subject,
        p.role,
        p.metric,
        n.node,
        n.node_index,
        n.op_type,
        mean_of(p.metric, p.value, p.output) AS value,
        sum(p.infinite) AS infinite,
        sum(p.all_zero)::BIGINT AS all_zero
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
        coalesce(
            avg(value) FILTER (isfinite(value)) OVER so_far,
            arg_max(value, badness(metric, value)) FILTER (isinf(value)) OVER so_far
        )
    ELSE value END AS value,
    CASE
        WHEN $average_mode THEN
            if(bool_or(isfinite(value)) OVER so_far, sum(infinite) OVER so_far, 0)
        ELSE if(isfinite(value), infinite, 0)
    END::BIGINT AS infinite,
    all_zero
FROM per_node
WINDOW so_far AS (PARTITION BY position ORDER BY node_index ROWS UNBOUNDED PRECEDING)
ORDER BY position, step
