-- Which nodes does a plan change, to what, and what would it be without each?
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind plan
-- :column slot VARCHAR the node, or the first of several that change together
-- :column nodes VARCHAR[] the general nodes
-- :column calibration_nodes VARCHAR[] the calibration nodes that change
-- :column qtype VARCHAR? what they become; empty if they stay as calibrated
-- :column price DOUBLE what that adds to the cost; of the first move if they stay
-- :column without DOUBLE? the value of the plan with this change alone taken back
-- :column position BIGINT place of the slot in topological order
-- :unique slot
SELECT slot, nodes, calibration_nodes, qtype, price, without, position
FROM plan_moves
WHERE run_id = $run_id
ORDER BY qtype IS NULL, position
