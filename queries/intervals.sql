-- How sure is a ranking? Of each node the interval of its metric and of its rank, near ties and noise.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind sensitivity
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR the node, or calibrated_model for all of them
-- :column role VARCHAR only (it alone is quantized) or reference (all are)
-- :column value DOUBLE? the metric, as the ranking shows it
-- :column samples BIGINT number of samples that it rests on
-- :column level DOUBLE how often such intervals hold what they are of
-- :column low DOUBLE? the interval of the mean; empty if there is none
-- :column high DOUBLE? likewise
-- :column method VARCHAR student, bootstrap or none
-- :column rank_low BIGINT? the interval of its rank; empty for one sample
-- :column rank_high BIGINT? likewise
-- :column top_k BIGINT? how many of the ranking top_k_probability is about
-- :column top_k_probability DOUBLE? to be among them, as far as the samples tell
-- :column tie_group BIGINT? first rank of its group of near ties; empty if it is told apart
-- :column noise DOUBLE? standard deviation of its value by rounding; empty if it was not measured
-- :column told_from_zero BOOLEAN whether its error is more than rounding
-- :unique position
SELECT
    c.position,
    c.subject,
    c.role,
    v.value,
    c.samples,
    c.level,
    c.low,
    c.high,
    c.method,
    c.rank_low,
    c.rank_high,
    c.top_k,
    c.top_k_probability,
    c.tie_group,
    c.noise,
    c.told_from_zero
FROM confidence AS c
JOIN subject_values AS v USING (run_id, position, metric)
WHERE c.run_id = $run_id AND c.metric = known_metric($metric)
ORDER BY c.position
