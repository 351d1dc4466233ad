-- What did each sample give? The metrics of a run's configurations, the samples in lists.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column output VARCHAR name of the tensor
-- :column metric VARCHAR cosine-similarity, mse, mre, sqnr or chebyshev
-- :column samples BIGINT[] places of the samples that were measured, in order
-- :column values DOUBLE[] the metric of each of them; empty where it is NaN
-- :unique position, output, metric
SELECT
    position,
    subject,
    role,
    output,
    metric,
    list(sample ORDER BY sample) AS samples,
    list(value ORDER BY sample) AS values
FROM metric_values
WHERE run_id = $run_id
GROUP BY position, subject, role, output, metric
ORDER BY position, output, metric
