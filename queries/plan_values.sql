-- What did the last configurations of a run give, sample by sample? For whoever chooses the next.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :param after BIGINT the place in the run's plan to begin with
-- :column config_id VARCHAR key of configs
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column output VARCHAR name of the tensor
-- :column value DOUBLE? the metric; empty where it is NaN
SELECT DISTINCT config_id, sample, output, value
FROM metric_values
WHERE run_id = $run_id AND metric = known_metric($metric) AND position >= $after
