-- Which thresholds clip the data, and which are wider than the data?
--
-- Of each calibration node of each model, the newest finished distribution counts. Clipped: the data
-- reach beyond the largest threshold by more than 0.1 %. Wasted: they use less than half of it.
--
-- :use user
-- :optional model_id VARCHAR only this model
-- :column model_id VARCHAR key of models
-- :column node VARCHAR the calibration node
-- :column kind VARCHAR weight or activation
-- :column verdict VARCHAR clipped, wasted or fits
-- :column threshold DOUBLE its largest threshold
-- :column abs_max DOUBLE largest absolute value of its data
-- :column used DOUBLE? abs_max over threshold
-- :column bits_wasted DOUBLE? how many bits of the type the data never use; 0 if they fit
-- :column run_id VARCHAR the run that observed it
-- :unique model_id, node
WITH observed AS (
    SELECT run_id, node, abs_max FROM tensor_summaries WHERE series IN ('before', 'input')
    UNION ALL
    SELECT run_id, node, max(greatest(abs(min), abs(max)))
    FROM channel_summaries
    GROUP BY run_id, node
),
newest AS (
    SELECT r.model_id, o.*
    FROM observed AS o
    JOIN runs AS r USING (run_id)
    WHERE r.state = 'FINISHED' AND ($model_id IS NULL OR r.model_id = $model_id)
    QUALIFY run_id = max(run_id) OVER (PARTITION BY r.model_id, o.node)
),
used AS (
    SELECT
        n.model_id,
        n.node,
        c.kind,
        list_max(list_transform(c.thresholds, lambda t: abs(t))) AS threshold,
        n.abs_max,
        n.abs_max / nullif(threshold, 0) AS used,
        n.run_id
    FROM newest AS n
    JOIN calibration_nodes AS c ON c.model_id = n.model_id AND c.node = n.node
    WHERE len(c.thresholds) > 0
)
SELECT
    model_id,
    node,
    kind,
    CASE WHEN used > 1.001 THEN 'clipped' WHEN used < 0.5 THEN 'wasted' ELSE 'fits' END AS verdict,
    threshold,
    abs_max,
    used,
    CASE WHEN used > 0 THEN greatest(-log2(used), 0) END AS bits_wasted,
    run_id
FROM used
ORDER BY abs(log2(nullif(used, 0))) DESC NULLS LAST, model_id, node
