-- The calibration nodes of the model of one run, in topological order.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run, such as a calibration
-- :column node VARCHAR the calibration node
-- :column kind VARCHAR weight or activation
-- :column input VARCHAR the tensor that it quantizes
-- :column consumers VARCHAR[] the general nodes that read it
-- :column qtype VARCHAR int8, uint8, int16, ...
-- :column scales BIGINT number of scales
-- :column threshold DOUBLE? the largest absolute threshold
-- :column smallest DOUBLE? the smallest scale
-- :column largest DOUBLE? the largest scale
-- :unique node
SELECT
    c.node,
    c.kind,
    c.input,
    c.consumers,
    c.qtype,
    len(c.scales) AS scales,
    list_max(list_transform(c.thresholds, lambda t: abs(t))) AS threshold,
    list_min(c.scales) AS smallest,
    list_max(c.scales) AS largest
FROM runs AS r
JOIN calibration_nodes AS c USING (model_id)
WHERE r.run_id = $run_id
ORDER BY c.node_index
