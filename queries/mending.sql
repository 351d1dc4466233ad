-- Is the mended model better? The model before and after, on the samples that chose and on the others.
--
-- Of every four samples the fourth is held out: nothing was chosen by it.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind mending
-- :optional metric VARCHAR='cosine-similarity' the metric of chosen and held_out
-- :column position BIGINT 0 is the model as it was
-- :column name VARCHAR calibrated_model, then mended_model
-- :column config_id VARCHAR key of configs
-- :column chosen DOUBLE? the metric on the samples that chose and checked
-- :column held_out DOUBLE? the metric on the others
-- :column chosen_error DOUBLE? sum of (x - y)^2 over sum of x^2 on the first, mean over outputs
-- :column held_out_error DOUBLE? the same on the others
-- :unique position
WITH planned AS (
    SELECT min(position) AS position, any_value(subject) AS name, config_id
    FROM run_configs WHERE run_id = $run_id
    GROUP BY config_id, subject
),
samples_of AS (
    SELECT v.config_id, v.sample % 4 = 3 AS is_held_out, v.sample, v.output, v.value
    FROM metric_values AS v
    WHERE v.run_id = $run_id AND v.metric = known_metric($metric)
    GROUP BY ALL
),
per_output AS (
    SELECT config_id, is_held_out, output, mean_of($metric, value, sample) AS value
    FROM samples_of GROUP BY ALL
),
valued AS (
    SELECT config_id, is_held_out, mean_of($metric, value, output) AS value
    FROM per_output GROUP BY ALL
),
summed AS (
    SELECT
        m.config_id,
        s.position % 4 = 3 AS is_held_out,
        m.output,
        sum(m.sum_dd ORDER BY s.position) / nullif(sum(m.sum_xx ORDER BY s.position), 0) AS share
    FROM runs AS r
    JOIN samples AS s USING (data_id)
    JOIN measurements AS m
        ON m.model_id = r.model_id AND m.sample_id = s.sample_id AND m.runtime = r.runtime
        AND m.numeric_version = r.numeric_version AND m.output IN r.outputs
    WHERE r.run_id = $run_id
    GROUP BY ALL
),
errors AS (
    SELECT config_id, is_held_out, avg(share ORDER BY output) AS error FROM summed GROUP BY ALL
)
SELECT
    row_number() OVER (ORDER BY p.position) - 1 AS position,
    p.name,
    p.config_id,
    c.value AS chosen,
    h.value AS held_out,
    ce.error AS chosen_error,
    he.error AS held_out_error
FROM planned AS p
LEFT JOIN valued AS c ON c.config_id = p.config_id AND NOT c.is_held_out
LEFT JOIN valued AS h ON h.config_id = p.config_id AND h.is_held_out
LEFT JOIN errors AS ce ON ce.config_id = p.config_id AND NOT ce.is_held_out
LEFT JOIN errors AS he ON he.config_id = p.config_id AND he.is_held_out
ORDER BY position
