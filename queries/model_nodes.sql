-- The nodes of the model of one run, general and calibration nodes, with what is attached to them.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run
-- :column node VARCHAR the node
-- :column type VARCHAR node (general), weight or activation (calibration)
-- :column node_index BIGINT position among the nodes of its table, in topological order
-- :column op_type VARCHAR operator of a general node, HzCalibration otherwise
-- :column inputs VARCHAR[] names of its input tensors
-- :column outputs VARCHAR[] names of its output tensors
-- :column calibration_nodes VARCHAR[]? the calibration nodes that feed a general node
-- :column consumers VARCHAR[]? the general nodes that read a calibration node
-- :column qtype VARCHAR? numeric type of a calibration node
-- :column bits BIGINT? its width
-- :column axis BIGINT? channel axis
-- :column scales DOUBLE[]? one, or one per channel
-- :column zero_points BIGINT[]? as many as scales
-- :column thresholds DOUBLE[]? absolute maxima, or minimum and maximum one after the other
-- :column enabled BOOLEAN? false if the switch of a calibration node is OFF
-- :unique node, type
SELECT
    n.node, 'node' AS type, n.node_index, n.op_type, n.inputs, n.outputs, n.calibration_nodes,
    NULL AS consumers, NULL AS qtype, NULL AS bits, NULL AS axis, NULL AS scales,
    NULL AS zero_points, NULL AS thresholds, NULL AS enabled
FROM nodes AS n
JOIN runs USING (model_id)
WHERE run_id = $run_id
UNION ALL
SELECT
    c.node, c.kind, c.node_index, 'HzCalibration', [c.input], [c.output], NULL,
    c.consumers, c.qtype, c.bits, c.axis, c.scales, c.zero_points, c.thresholds, c.enabled
FROM calibration_nodes AS c
JOIN runs USING (model_id)
WHERE run_id = $run_id
ORDER BY type, node_index
