-- Whose channels differ so much that one scale cannot serve them all?
--
-- Those that have one scale come first, as the others are served already. The newest finished channel-wise distribution of each calibration node of each model counts.
--
-- :use user
-- :optional model_id VARCHAR only this model
-- :column model_id VARCHAR key of models
-- :column node VARCHAR the calibration node
-- :column kind VARCHAR? weight or activation
-- :column channels BIGINT number of channels
-- :column scales BIGINT? number of scales it has: 1, or one per channel
-- :column abs_max DOUBLE largest absolute value of all channels
-- :column median_abs_max DOUBLE that of the median channel
-- :column imbalance DOUBLE? the first over the second; 1 is even
-- :column widest BIGINT the channel that has the largest
-- :column run_id VARCHAR the run that observed it
-- :unique model_id, node
WITH observed AS (
    SELECT r.model_id, s.*, greatest(abs(s.min), abs(s.max)) AS peak
    FROM channel_summaries AS s
    JOIN runs AS r USING (run_id)
    WHERE r.state = 'FINISHED' AND ($model_id IS NULL OR r.model_id = $model_id)
    QUALIFY run_id = max(run_id) OVER (PARTITION BY r.model_id, s.node)
)
SELECT
    o.model_id,
    o.node,
    any_value(c.kind) AS kind,
    count(*) AS channels,
    any_value(len(c.scales)) AS scales,
    max(o.peak) AS abs_max,
    median(o.peak) AS median_abs_max,
    max(o.peak) / nullif(median(o.peak), 0) AS imbalance,
    arg_max(o.channel, o.peak) AS widest,
    any_value(o.run_id) AS run_id
FROM observed AS o
LEFT JOIN calibration_nodes AS c ON c.model_id = o.model_id AND c.node = o.node
GROUP BY o.model_id, o.node
ORDER BY coalesce(any_value(len(c.scales)), 1) > 1, imbalance DESC NULLS LAST, o.model_id, o.node
