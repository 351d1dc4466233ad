-- How are the data of calibration nodes distributed, channel by channel?
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind channelwise-distribution
-- :column node VARCHAR the calibration node
-- :column axis BIGINT the dimension that holds the channels
-- :column channel BIGINT from 0
-- :column count BIGINT number of finite values
-- :column min DOUBLE smallest value
-- :column max DOUBLE largest value
-- :column mean DOUBLE mean
-- :column q25 DOUBLE lower quartile
-- :column median DOUBLE median
-- :column q75 DOUBLE upper quartile
-- :column whisker_low DOUBLE smallest value within 1.5 IQR of the lower quartile
-- :column whisker_high DOUBLE largest value within 1.5 IQR of the upper quartile
-- :column outliers BIGINT number of values beyond the whiskers
-- :column outlier_sample DOUBLE[] some of them, the extremes always among them
-- :unique node, channel
SELECT * EXCLUDE (run_id, position)
FROM channel_summaries
WHERE run_id = $run_id
ORDER BY position, channel
