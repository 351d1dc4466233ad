-- How far does rounding alone move a metric? A run's configurations on inputs moved by about 1e-7.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR what the configuration is about
-- :column role VARCHAR what it does to it
-- :column config_id VARCHAR key of configs
-- :column sample BIGINT place in the run's data of the sample that was moved
-- :column sample_id VARCHAR its content hash
-- :column copy BIGINT number of the moved copy, from 1
-- :column output VARCHAR name of the tensor
-- :column metric VARCHAR cosine-similarity, mse, mre, sqnr or chebyshev
-- :column value DOUBLE? its value; empty where it is NaN
-- :unique position, sample, copy, output, metric
WITH moved AS (
    SELECT DISTINCT ON (c.position, s.position, m.copy, m.output)
        c.position,
        c.subject,
        c.role,
        c.config_id,
        s.position AS sample,
        s.sample_id,
        m.copy,
        m.output,
        cosine_of(m.sum_xx, m.sum_yy, m.sum_xy, m.sum_dd) AS cosine_similarity,
        m.sum_dd / m.count AS mse,
        mre_of(m.sum_abs_d, m.sum_abs_x) AS mre,
        sqnr_of(m.sum_xx, m.sum_dd) AS sqnr,
        m.max_abs_d AS chebyshev
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
    config_id,
    sample,
    sample_id,
    copy,
    output,
    replace(metric, '_', '-') AS metric,
    if(isnan(value), NULL, value) AS value
FROM (
    UNPIVOT moved
    ON cosine_similarity, mse, mre, sqnr, chebyshev INTO NAME metric VALUE value
)
ORDER BY position, sample, copy, output, metric
