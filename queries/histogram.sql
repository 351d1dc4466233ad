-- The histograms of the series of one run.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind distribution
-- :column node VARCHAR the node
-- :column series VARCHAR before or after quantization, error, or input
-- :column low DOUBLE lower edge of the bin
-- :column high DOUBLE upper edge of the bin
-- :column count BIGINT number of values in it
-- :unique node, series, low
SELECT node, series, low, high, count
FROM histograms
WHERE run_id = $run_id
ORDER BY node, series, bin
