-- What did each moved copy of a sample give? The mean squared errors of a run's configurations.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column output VARCHAR name of the tensor
-- :column samples BIGINT[] places of the samples that were moved, in order
-- :column copies BIGINT[] numbers of their copies, from 1
-- :column errors DOUBLE[] the mean squared error of each; NaN where the outputs were no numbers
-- :unique position, output
WITH moved AS (
    SELECT DISTINCT ON (c.position, s.position, m.copy, m.output)
        c.position,
        c.subject,
        c.role,
        s.position AS sample,
        m.copy,
        m.output,
        m.sum_dd / m.count AS mse
    FROM runs AS r
    JOIN run_configs AS c USING (run_id)
    JOIN samples AS s USING (data_id)
    JOIN moved_measurements AS m
        ON m.model_id = r.model_id
        AND m.config_id = c.config_id
        AND m.sample_id = s.sample_id
        AND m.runtime = r.runtime
        AND m.numeric_version = r.numeric_version
        AND list_contains(r.outputs, m.output)
    WHERE r.run_id = $run_id
)
SELECT
    position,
    subject,
    role,
    output,
    list(sample ORDER BY sample, copy) AS samples,
    list(copy ORDER BY sample, copy) AS copies,
    list(mse ORDER BY sample, copy) AS errors
FROM moved
GROUP BY position, subject, role, output
ORDER BY position, output
