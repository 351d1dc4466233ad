-- What did a mended model change? The steps of the search, in their order.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind mending
-- :column position BIGINT place of the step, from 0
-- :column step VARCHAR what was changed, in words
-- :column nodes BIGINT number of nodes that it changed
-- :column choosing DOUBLE mean gain over the samples that chose it, in dB
-- :column checking DOUBLE mean gain over the samples that checked it, in dB
-- :column compared VARCHAR[]? the tensors whose errors gains are of
-- :column held_out DOUBLE? mean gain of this step and all before it over the held-out samples, in dB
-- :column held_out_low DOUBLE? lower end of its 95 % interval
-- :column held_out_high DOUBLE? upper end
-- :unique position
SELECT
    position,
    step,
    nodes,
    choosing,
    checking,
    compared,
    held_out,
    held_out_low,
    held_out_high
FROM (FROM mending_steps WHERE run_id = $run_id)
ORDER BY position
