-- How are the data of nodes distributed? The series of one run, without their histograms.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind distribution
-- :column node VARCHAR the node
-- :column kind VARCHAR node_output, weight or activation
-- :column series VARCHAR before or after quantization, error, or input
-- :column threshold DOUBLE? largest threshold of the calibration node
-- :column count BIGINT number of values
-- :column min DOUBLE smallest finite value
-- :column max DOUBLE largest finite value
-- :column mean DOUBLE mean
-- :column std DOUBLE population standard deviation
-- :column q01 DOUBLE 1 % quantile
-- :column q25 DOUBLE lower quartile
-- :column median DOUBLE median
-- :column q75 DOUBLE upper quartile
-- :column q99 DOUBLE 99 % quantile
-- :column abs_max DOUBLE largest absolute value
-- :column zeros BIGINT number of zeros
-- :column nan BIGINT number of NaN
-- :column inf BIGINT number of infinite values
-- :unique node, series
SELECT * EXCLUDE (run_id, position)
FROM tensor_summaries
WHERE run_id = $run_id
ORDER BY position, list_position(['before', 'input', 'after', 'error'], series)
