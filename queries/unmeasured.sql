-- Which nodes of a ranking were not measured? The order of their local errors stands in, if known.
--
-- The error of a node by itself: what its quantizers do to their own tensors, as the sum of squared
-- errors over squared values. It is a proxy, and says nothing of what reaches the outputs.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind sensitivity
-- :column position BIGINT place of the configuration in the run's plan
-- :column subject VARCHAR the node
-- :column local_error DOUBLE? the error of its quantizers; empty if it was not looked at
-- :unique position
WITH planned AS (
    SELECT c.run_id, r.model_id, c.position, c.subject
    FROM run_configs AS c
    JOIN runs AS r USING (run_id)
    WHERE c.run_id = $run_id AND c.role = 'only'
),
missing AS (
    FROM planned ANTI JOIN (SELECT DISTINCT run_id, position FROM results) USING (run_id, position)
),
quantizers AS (
    SELECT m.position, coalesce(q.quantizer, m.subject) AS quantizer
    FROM missing AS m
    LEFT JOIN (
        SELECT model_id, node, unnest(calibration_nodes) AS quantizer FROM nodes
    ) AS q ON q.model_id = m.model_id AND q.node = m.subject
),
local AS (
    SELECT node, sum(sum_dd) / sum(sum_xx) AS error
    FROM local_errors
    WHERE run_id = $run_id AND error = 'own'
    GROUP BY node
)
SELECT m.position, m.subject, sum(l.error) AS local_error
FROM missing AS m
JOIN quantizers AS q USING (position)
LEFT JOIN local AS l ON l.node = q.quantizer
GROUP BY m.position, m.subject
ORDER BY local_error DESC NULLS LAST, m.position
