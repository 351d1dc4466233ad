-- What do a built model's deviations from its plan cost? One run.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind plan-check
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column subject VARCHAR plan, built, or the node that differs
-- :column role VARCHAR planned, built (with all deviations) or deviation (with those of one node)
-- :column value DOUBLE? the metric, the mean over samples and outputs
-- :column config_id VARCHAR key of configs
-- :unique subject, role
SELECT subject, role, value, config_id
FROM subject_values
WHERE run_id = $run_id AND metric = known_metric($metric)
ORDER BY position
