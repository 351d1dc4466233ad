-- Which calibration nodes quantize in another way in the model of another run?
--
-- Nodes are matched as in node_matches. Only nodes that differ are given, in topological order; with
-- same all are, the largest change of threshold first.
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run: before
-- :param run_b VARCHAR a run: after
-- :optional same BOOLEAN=false whether to give nodes that are the same, too
-- :column node VARCHAR its name in the model of run_b; of run_a where run_b has it not
-- :column node_a VARCHAR? its name in the model of run_a
-- :column node_b VARCHAR? its name in the model of run_b
-- :column kind VARCHAR weight or activation
-- :column changed VARCHAR[] what differs: type, threshold, channels, scales, enabled; or added, removed
-- :column qtype_a VARCHAR? its type in run_a
-- :column qtype_b VARCHAR? its type in run_b
-- :column bits_a BIGINT? width of that type
-- :column bits_b BIGINT? likewise in run_b
-- :column threshold_a DOUBLE? its largest absolute threshold in run_a
-- :column threshold_b DOUBLE? likewise in run_b
-- :column ratio DOUBLE? threshold_b over threshold_a
-- :column channels_a BIGINT? number of scales in run_a: 1, or one per channel
-- :column channels_b BIGINT? likewise in run_b
-- :column imbalance_a DOUBLE? its largest scale over its median scale in run_a
-- :column imbalance_b DOUBLE? likewise in run_b
-- :unique node_a, node_b
WITH a AS (
    SELECT c.* FROM calibration_nodes AS c JOIN runs USING (model_id) WHERE run_id = $run_a
),
b AS (
    SELECT c.* FROM calibration_nodes AS c JOIN runs USING (model_id) WHERE run_id = $run_b
),
matched AS (
    SELECT node_a, node_b FROM node_matches($run_a, $run_b) WHERE what <> 'general'
),
paired AS (
    SELECT
        coalesce(b.node, a.node) AS node,
        a.node AS node_a,
        b.node AS node_b,
        coalesce(b.kind, a.kind) AS kind,
        CASE
            WHEN a.node IS NULL THEN ['added']
            WHEN b.node IS NULL THEN ['removed']
            ELSE list_filter([
                if(a.qtype <> b.qtype, 'type', NULL),
                if(a.thresholds IS DISTINCT FROM b.thresholds, 'threshold', NULL),
                if(len(a.scales) <> len(b.scales), 'channels', NULL),
                if(
                    a.scales IS DISTINCT FROM b.scales
                    OR a.zero_points IS DISTINCT FROM b.zero_points,
                    'scales',
                    NULL
                ),
                if(a.enabled <> b.enabled, 'enabled', NULL)
            ], lambda word: word IS NOT NULL)
        END AS changed,
        a.qtype AS qtype_a,
        b.qtype AS qtype_b,
        a.bits AS bits_a,
        b.bits AS bits_b,
        list_max(list_transform(a.thresholds, lambda t: abs(t))) AS threshold_a,
        list_max(list_transform(b.thresholds, lambda t: abs(t))) AS threshold_b,
        threshold_b / nullif(threshold_a, 0) AS ratio,
        len(a.scales) AS channels_a,
        len(b.scales) AS channels_b,
        list_max(a.scales) / nullif(list_median(a.scales), 0) AS imbalance_a,
        list_max(b.scales) / nullif(list_median(b.scales), 0) AS imbalance_b,
        coalesce(b.node_index, a.node_index) AS node_index
    FROM a
    LEFT JOIN matched AS m ON m.node_a = a.node
    FULL JOIN b ON b.node = m.node_b
)
SELECT * EXCLUDE (node_index)
FROM paired
WHERE $same::BOOLEAN OR len(changed) > 0
ORDER BY
    if($same::BOOLEAN, abs(ln(nullif(ratio, 0))), NULL) DESC NULLS FIRST,
    node_index,
    node
