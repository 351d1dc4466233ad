-- Which nodes became more, and which less sensitive, from one ranking to another?
--
-- Nodes are matched as in node_matches. A drop is how much worse the metric became, in its own unit:
-- positive is worse for every metric. A metric that became NaN dropped by infinity.
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run of kind sensitivity: before
-- :param run_b VARCHAR a run of kind sensitivity: after
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :optional tolerance DOUBLE=1e-6 a change that is not larger counts as none
-- :column node VARCHAR its name in run_b; in run_a where run_b has it not
-- :column node_a VARCHAR? its name in run_a
-- :column node_b VARCHAR? its name in run_b
-- :column op_type VARCHAR operator of a general node, HzCalibration otherwise
-- :column matched_by VARCHAR? name or structure
-- :column status VARCHAR worse, better, same, added (not in run_a) or removed (not in run_b)
-- :column rank_a BIGINT? its rank in run_a
-- :column rank_b BIGINT? its rank in run_b
-- :column value_a DOUBLE? the metric in run_a; empty where it is NaN
-- :column value_b DOUBLE? the metric in run_b
-- :column drop DOUBLE? how much worse it became
-- :column infinite_a BIGINT? infinite values that the mean in run_a leaves out
-- :column infinite_b BIGINT? likewise in run_b
-- :unique node_a, node_b, op_type
WITH a AS (
    SELECT subject, rank, op_type, position, value, infinite
    FROM sensitivity($run_a, $metric)
),
b AS (
    SELECT subject, rank, op_type, position, value, infinite
    FROM sensitivity($run_b, $metric)
),
matched AS (
    -- A general and a calibration node may have the same name; the operator tells them apart.
    SELECT node_a, node_b, matched_by, what = 'general' AS general
    FROM node_matches($run_a, $run_b)
),
paired AS (
    SELECT
        a.subject AS node_a,
        b.subject AS node_b,
        coalesce(b.op_type, a.op_type) AS op_type,
        if(a.subject IS NULL OR b.subject IS NULL, NULL, m.matched_by) AS matched_by,
        a.rank AS rank_a,
        b.rank AS rank_b,
        a.value AS value_a,
        b.value AS value_b,
        a.infinite AS infinite_a,
        b.infinite AS infinite_b,
        coalesce(b.position, a.position) AS position,
        CASE
            WHEN a.subject IS NULL OR b.subject IS NULL THEN NULL
            ELSE drop_of($metric, a.value, b.value)
        END AS drop
    FROM a
    LEFT JOIN matched AS m
        ON m.node_a = a.subject AND m.general = (a.op_type <> 'HzCalibration')
    FULL JOIN b ON b.subject = m.node_b AND m.general = (b.op_type <> 'HzCalibration')
)
SELECT
    coalesce(node_b, node_a) AS node,
    node_a,
    node_b,
    op_type,
    matched_by,
    CASE
        WHEN node_a IS NULL THEN 'added'
        WHEN node_b IS NULL THEN 'removed'
        WHEN drop > $tolerance::DOUBLE THEN 'worse'
        WHEN drop < -$tolerance::DOUBLE THEN 'better'
        ELSE 'same'
    END AS status,
    rank_a,
    rank_b,
    value_a,
    value_b,
    drop,
    infinite_a,
    infinite_b
FROM paired
-- By size: a large change must not stand behind many that are small, whichever way it goes.
ORDER BY abs(drop) DESC NULLS LAST, position, node_a
