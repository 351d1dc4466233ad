-- What a node is and what it stands between, whatever its name (also a view).
--
-- Calibration nodes on the way are looked through. Nodes of one model may share a signature.
--
-- :column model_id VARCHAR key of models
-- :column node VARCHAR the node, general or calibration
-- :column what VARCHAR general, weight or activation
-- :column node_index BIGINT its place among nodes of its sort, in topological order
-- :column op_type VARCHAR operator of a general node, HzCalibration otherwise
-- :column signature VARCHAR operator, what feeds it in order, and what reads it
WITH produced AS (
    SELECT model_id, node, op_type, unnest(outputs) AS tensor FROM nodes
),
inputs AS (
    SELECT
        model_id,
        node,
        op_type,
        unnest(inputs) AS tensor,
        generate_subscripts(inputs, 1) AS place
    FROM nodes
),
edges AS (
    SELECT
        i.model_id,
        i.node,
        i.op_type,
        i.place,
        coalesce(c.input, i.tensor) AS tensor,
        p.node AS producer,
        coalesce(p.op_type, if(c.kind = 'weight', 'weight', 'input')) AS producer_op
    FROM inputs AS i
    LEFT JOIN calibration_nodes AS c ON c.model_id = i.model_id AND c.output = i.tensor
    LEFT JOIN produced AS p
        ON p.model_id = i.model_id AND p.tensor = coalesce(c.input, i.tensor)
),
feeding AS (
    SELECT model_id, node, string_agg(producer_op, ',' ORDER BY place) AS ops
    FROM edges
    GROUP BY ALL
),
reading AS (
    SELECT model_id, producer AS node, string_agg(op_type, ',' ORDER BY op_type) AS ops
    FROM edges
    WHERE producer IS NOT NULL
    GROUP BY ALL
),
calibration AS (
    SELECT
        c.model_id,
        c.node,
        c.kind,
        c.node_index,
        any_value(p.op_type) AS producer_op,
        string_agg(n.op_type, ',' ORDER BY n.op_type) AS ops
    FROM calibration_nodes AS c
    LEFT JOIN produced AS p ON p.model_id = c.model_id AND p.tensor = c.input
    LEFT JOIN nodes AS n ON n.model_id = c.model_id AND list_contains(c.consumers, n.node)
    GROUP BY ALL
)
SELECT
    n.model_id,
    n.node,
    'general' AS what,
    n.node_index,
    n.op_type,
    format('{}({})>{}', n.op_type, coalesce(f.ops, ''), coalesce(r.ops, '')) AS signature
FROM nodes AS n
LEFT JOIN feeding AS f USING (model_id, node)
LEFT JOIN reading AS r USING (model_id, node)
UNION ALL
SELECT
    model_id,
    node,
    kind,
    node_index,
    'HzCalibration',
    format('{}({})>{}', kind, coalesce(producer_op, ''), coalesce(ops, ''))
FROM calibration
