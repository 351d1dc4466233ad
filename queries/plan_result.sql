-- What is the plan of a run, and does it keep its target on samples that chose nothing?
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind plan
-- :column target VARCHAR what was to be reached, or the highest cost
-- :column metric VARCHAR the metric of the values
-- :column is_share BOOLEAN whether values are shares of the fully quantized model's mse
-- :column config_id VARCHAR key of configs: the plan
-- :column moves BIGINT number of slots that it changes
-- :column slots BIGINT number of slots that can be changed
-- :column cost DOUBLE what it adds to the cost of the calibrated model
-- :column cost_of_all DOUBLE the same with everything changed
-- :column unit VARCHAR what a cost counts
-- :column samples BIGINT number of samples that chose it
-- :column value DOUBLE? its value on them
-- :column margin DOUBLE by how much it is better than the target asks for, at least
-- :column margin_factor DOUBLE? by what that is wider than of one configuration
-- :column halved DOUBLE? how often what half of the samples choose keeps it on the others
-- :column calibrated DOUBLE? the value of the calibrated model on them, free remedies included
-- :column freed BOOLEAN? whether free remedies were taken first; empty if not asked for
-- :column certified BOOLEAN whether each single removal was measured and misses the target
-- :column stopped BOOLEAN whether the budget ended the search
-- :column held_out BIGINT number of samples held out
-- :column held_out_value DOUBLE? its value on those
-- :column held_out_low DOUBLE? lower end of its 90 % interval
-- :column held_out_high DOUBLE? upper end
-- :column kept BOOLEAN? whether the target is kept on them
-- :column seconds DOUBLE from the first configuration to the last
-- :column configurations BIGINT number of configurations that were measured
-- :unique
SELECT
    p.* EXCLUDE (run_id),
    (SELECT count(*) FROM plan_points WHERE run_id = $run_id) AS configurations
FROM plans AS p
WHERE p.run_id = $run_id
