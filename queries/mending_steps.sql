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
-- :unique position
SELECT position, step, nodes, choosing, checking
FROM (FROM mending_steps WHERE run_id = $run_id)
ORDER BY position
