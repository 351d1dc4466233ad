-- In what do two runs differ, other than in their results?
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run: before
-- :param run_b VARCHAR a run: after
-- :column setting VARCHAR what differs: a column of runs or models, or a parameter of the analysis
-- :column a VARCHAR? its value in run_a
-- :column b VARCHAR? its value in run_b
-- :unique setting
WITH compared AS (
    SELECT r.*, m.opset, m.general_nodes, m.quantizable_nodes, m.calibration_nodes
    FROM runs AS r
    LEFT JOIN models AS m USING (model_id)
    WHERE run_id IN ($run_a, $run_b)
),
own AS (
    SELECT
        run_id,
        unnest([
            {'position': 0, 'setting': 'kind', 'value': kind},
            {'position': 1, 'setting': 'model', 'value': model_path},
            {'position': 2, 'setting': 'model_id', 'value': model_id},
            {'position': 3, 'setting': 'opset', 'value': opset::VARCHAR},
            {'position': 4, 'setting': 'general_nodes', 'value': general_nodes::VARCHAR},
            {'position': 5, 'setting': 'quantizable_nodes', 'value': quantizable_nodes::VARCHAR},
            {'position': 6, 'setting': 'calibration_nodes', 'value': calibration_nodes::VARCHAR},
            {'position': 7, 'setting': 'data', 'value': data_path},
            {'position': 8, 'setting': 'data_id', 'value': data_id},
            {'position': 9, 'setting': 'data_num', 'value': data_num::VARCHAR},
            {'position': 10, 'setting': 'outputs', 'value': outputs::VARCHAR},
            {'position': 11, 'setting': 'runtime', 'value': runtime},
            {'position': 12, 'setting': 'numeric_version', 'value': numeric_version::VARCHAR},
            {'position': 13, 'setting': 'package_version', 'value': package_version}
        ], recursive := true)
    FROM compared
),
passed AS (
    SELECT run_id, 100 AS position, each.key AS setting, each.value::VARCHAR AS value
    FROM compared, json_each(parameters) AS each
),
settings AS (
    SELECT run_id, position, setting, value FROM own
    UNION ALL
    SELECT run_id, position, setting, value FROM passed
)
SELECT
    setting,
    any_value(value) FILTER (run_id = $run_a) AS a,
    any_value(value) FILTER (run_id = $run_b) AS b
FROM settings
GROUP BY setting
HAVING a IS DISTINCT FROM b
ORDER BY min(position), setting
