-- How did the data of calibration nodes change, from the model and data of one run to another's?
--
-- For each of the two, the newest finished channel-wise distribution of that model on that data counts,
-- node by node; nodes that were not observed for both are left out. Nodes are matched as in node_matches.
--
-- :use user
-- :about alike
-- :param run_a VARCHAR a run: before
-- :param run_b VARCHAR a run: after
-- :column node VARCHAR the calibration node in the model of run_b
-- :column node_a VARCHAR its name in the model of run_a
-- :column channels_a BIGINT number of channels
-- :column channels_b BIGINT likewise in run_b
-- :column abs_max_a DOUBLE largest absolute value
-- :column abs_max_b DOUBLE likewise in run_b
-- :column imbalance_a DOUBLE? largest absolute value of all channels over that of the median channel
-- :column imbalance_b DOUBLE? likewise in run_b
-- :column outliers_a DOUBLE share of values beyond the whiskers of their channel
-- :column outliers_b DOUBLE likewise in run_b
-- :unique node
WITH compared AS (
    SELECT run_id AS asked, model_id, data_id FROM runs WHERE run_id IN ($run_a, $run_b)
),
observed AS (
    SELECT
        o.asked,
        s.*,
        greatest(abs(s.min), abs(s.max)) AS abs_max
    FROM compared AS o
    JOIN runs AS r ON r.model_id = o.model_id AND r.data_id = o.data_id
    JOIN channel_summaries AS s ON s.run_id = r.run_id
    WHERE r.kind = 'channelwise-distribution' AND r.state = 'FINISHED'
    QUALIFY s.run_id = max(s.run_id) OVER (PARTITION BY o.asked, s.node)
),
per_node AS (
    SELECT
        asked,
        node,
        count(*) AS channels,
        max(abs_max) AS abs_max,
        max(abs_max) / nullif(median(abs_max), 0) AS imbalance,
        sum(outliers) / sum(count) AS outliers
    FROM observed
    GROUP BY asked, node
)
SELECT
    m.node_b AS node,
    m.node_a,
    a.channels AS channels_a,
    b.channels AS channels_b,
    a.abs_max AS abs_max_a,
    b.abs_max AS abs_max_b,
    a.imbalance AS imbalance_a,
    b.imbalance AS imbalance_b,
    a.outliers AS outliers_a,
    b.outliers AS outliers_b
FROM node_matches($run_a, $run_b) AS m
JOIN per_node AS a ON a.asked = $run_a AND a.node = m.node_a
JOIN per_node AS b ON b.asked = $run_b AND b.node = m.node_b
WHERE m.what <> 'general'
    AND (
        a.channels <> b.channels
        OR a.abs_max IS DISTINCT FROM b.abs_max
        OR a.imbalance IS DISTINCT FROM b.imbalance
        OR a.outliers IS DISTINCT FROM b.outliers
    )
ORDER BY m.node_b
