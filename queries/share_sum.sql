-- Do the errors of single nodes add up to the whole model's? Their sum against what was measured.
--
-- The points are the whole model and each model without one node that keeps 5 % of the error or more:
-- the sum of the others' errors over the error that was measured. Sums predict where all are near 1.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a ranking that measured shares (--share)
-- :column nodes BIGINT number of nodes in the sum
-- :column sum DOUBLE the errors of all nodes alone, as a share of the whole model's
-- :column sum_low DOUBLE? its interval; empty where there is none
-- :column sum_high DOUBLE? likewise
-- :column least DOUBLE the smallest factor of sum to measured, of all points
-- :column most DOUBLE the largest
-- :column agrees BOOLEAN whether all factors are between 0.8 and 1.25
-- :unique nodes
WITH whole AS (
    SELECT alone AS total, alone_low, alone_high
    FROM shares
    WHERE run_id = $run_id AND role = 'reference'
),

points AS (
    SELECT total AS factor FROM whole
    UNION ALL
    SELECT (w.total - s.alone) / (1 - s.share)
    FROM shares AS s
    CROSS JOIN whole AS w
    WHERE s.run_id = $run_id AND s.role = 'only' AND s.share <= 0.95
)

SELECT
    (SELECT count(*) FROM shares WHERE run_id = $run_id AND role = 'only') AS nodes,
    any_value(w.total) AS sum,
    any_value(w.alone_low) AS sum_low,
    any_value(w.alone_high) AS sum_high,
    min(p.factor) AS least,
    max(p.factor) AS most,
    min(p.factor) >= 0.8 AND max(p.factor) <= 1.25 AS agrees
FROM whole AS w
CROSS JOIN points AS p
HAVING count(*) > 0
