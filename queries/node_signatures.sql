-- What a node of the model of one run is and what it stands between, whatever its name.
--
-- Calibration nodes on the way are looked through. Nodes of one model may share a signature.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :column node VARCHAR the node, general or calibration
-- :column what VARCHAR general, weight or activation
-- :column node_index BIGINT its place among nodes of its sort, in topological order
-- :column op_type VARCHAR operator of a general node, HzCalibration otherwise
-- :column signature VARCHAR operator, what feeds it in order, and what reads it
-- :unique what, node
WITH own AS (
    SELECT n.* FROM nodes AS n JOIN runs USING (model_id) WHERE run_id = $run_id
),
own_calibration AS (
    SELECT c.* FROM calibration_nodes AS c JOIN runs USING (model_id) WHERE run_id = $run_id
),
produced AS (
    SELECT node, op_type, unnest(outputs) AS tensor FROM own
),
inputs AS (
    SELECT
        node,
        op_type,
        unnest(inputs) AS tensor,
        generate_subscripts(inputs, 1) AS place
    FROM own
),
edges AS (
    SELECT
        i.node,
        i.op_type,
        i.place,
        coalesce(c.input, i.tensor) AS tensor,
        p.node AS producer,
        coalesce(p.op_type, if(c.kind = 'weight', 'weight', 'input')) AS producer_op
    FROM inputs AS i
    LEFT JOIN own_calibration AS c ON c.output = i.tensor
    LEFT JOIN produced AS p ON p.tensor = coalesce(c.input, i.tensor)
),
feeding AS (
    SELECT node, string_agg(producer_op, ',' ORDER BY place) AS ops FROM edges GROUP BY node
),
reading AS (
    SELECT producer AS node, string_agg(op_type, ',' ORDER BY op_type) AS ops
    FROM edges
    WHERE producer IS NOT NULL
    GROUP BY producer
),
calibration AS (
    SELECT
        c.node,
        c.kind,
        c.node_index,
        any_value(p.op_type) AS producer_op,
        string_agg(n.op_type, ',' ORDER BY n.op_type) AS ops
    FROM own_calibration AS c
    LEFT JOIN produced AS p ON p.tensor = c.input
    LEFT JOIN own AS n ON list_contains(c.consumers, n.node)
    GROUP BY ALL
)
SELECT
    n.node,
    'general' AS what,
    n.node_index,
    n.op_type,
    format('{}({})>{}', n.op_type, coalesce(f.ops, ''), coalesce(r.ops, '')) AS signature
FROM own AS n
LEFT JOIN feeding AS f USING (node)
LEFT JOIN reading AS r USING (node)
UNION ALL
SELECT
    node,
    kind,
    node_index,
    'HzCalibration',
    format('{}({})>{}', kind, coalesce(producer_op, ''), coalesce(ops, ''))
FROM calibration
