-- What every run compared: its configurations, samples and outputs with the metrics (also a view).
--
-- A measurement that several runs share appears once for each of them.
--
-- :use view
-- :column run_id VARCHAR key of runs
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR the node that the configuration is about
-- :column role VARCHAR what the configuration does to it
-- :column config_id VARCHAR key of configs
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column output VARCHAR name of the tensor
-- :column count BIGINT number of elements
-- :column nonfinite BIGINT number of NaN and Inf in both outputs
-- :column all_zero BOOLEAN whether the float output is all zero
-- :column cosine_similarity DOUBLE as in metrics
-- :column mse DOUBLE as in metrics
-- :column mre DOUBLE as in metrics
-- :column sqnr DOUBLE as in metrics
-- :column chebyshev DOUBLE as in metrics
-- :unique run_id, position, sample, output
-- Each measurement once: joined first, so that what one run needs is all that is read.
SELECT DISTINCT ON (r.run_id, c.position, s.position, m.output)
    r.run_id,
    c.position,
    c.subject,
    c.role,
    c.config_id,
    s.position AS sample,
    m.output,
    m.count,
    m.nonfinite,
    m.all_zero,
    m.cosine_similarity,
    m.mse,
    m.mre,
    m.sqnr,
    m.chebyshev
FROM runs AS r
JOIN run_configs AS c USING (run_id)
JOIN samples AS s USING (data_id)
JOIN metric_rows AS m
    ON m.model_id = r.model_id
    AND m.config_id = c.config_id
    AND m.sample_id = s.sample_id
    AND m.runtime = r.runtime
    AND m.numeric_version = r.numeric_version
    AND list_contains(r.outputs, m.output)
