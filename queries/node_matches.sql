-- Which node of one run's model is which node of another's?
--
-- A node of the same name, sort and operator is the same node. Of the others, those of the same
-- signature (see node_signatures) are taken for the same in topological order, provided that both
-- models have equally many of them left. The rest has no counterpart.
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run
-- :param run_b VARCHAR another run
-- :column node_a VARCHAR the node in the model of run_a
-- :column node_b VARCHAR the node in the model of run_b
-- :column what VARCHAR general, weight or activation
-- :column matched_by VARCHAR name or structure
-- :unique what, node_a
WITH a AS (
    FROM node_signatures($run_a)
),
b AS (
    FROM node_signatures($run_b)
),
named AS (
    SELECT node, what FROM a JOIN b USING (node, what, op_type)
),
left_a AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY what, signature ORDER BY node_index) AS place,
        count(*) OVER (PARTITION BY what, signature) AS total
    FROM a
    ANTI JOIN named USING (node, what)
),
left_b AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY what, signature ORDER BY node_index) AS place,
        count(*) OVER (PARTITION BY what, signature) AS total
    FROM b
    ANTI JOIN named USING (node, what)
)
SELECT node AS node_a, node AS node_b, what, 'name' AS matched_by FROM named
UNION ALL
SELECT left_a.node, left_b.node, what, 'structure'
FROM left_a
JOIN left_b USING (what, signature, place, total)
ORDER BY what, node_a
