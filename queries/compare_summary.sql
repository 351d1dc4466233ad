-- Two rankings compared in numbers: the quantities of --fail-if.
--
-- :param run_a VARCHAR a run of kind sensitivity: before
-- :param run_b VARCHAR a run of kind sensitivity: after
-- :param metric VARCHAR the metric, such as cosine-similarity
-- :param tolerance DOUBLE a change that is not larger counts as none
-- :column max_drop DOUBLE largest drop of a node that both have; 0 if none became worse
-- :column mean_drop DOUBLE mean drop of the nodes that both have, better ones counted against it
-- :column worst_drop DOUBLE drop from the worst node of run_a to the worst of run_b, whichever they are
-- :column worst_a DOUBLE the metric of the worst node of run_a
-- :column worst_b DOUBLE the metric of the worst node of run_b
-- :column worse BIGINT nodes that became worse
-- :column better BIGINT nodes that became better
-- :column same BIGINT nodes that stayed the same
-- :column added BIGINT nodes that only run_b has
-- :column removed BIGINT nodes that only run_a has
-- :column renamed BIGINT nodes that were matched by structure
-- :column changed_thresholds BIGINT calibration nodes whose thresholds differ
-- :column changed_types BIGINT calibration nodes whose type differs
WITH compared AS (
    FROM compare_nodes($run_a, $run_b, $metric, $tolerance)
),
calibration AS (
    FROM compare_calibration($run_a, $run_b)
),
counted AS (
    SELECT
        greatest(max(drop), 0) AS max_drop,
        avg(drop) AS mean_drop,
        -- Rank 1 is the worst, also where its value is NaN.
        any_value(value_a) FILTER (rank_a = 1) AS worst_a,
        any_value(value_b) FILTER (rank_b = 1) AS worst_b,
        count(*) FILTER (rank_a = 1 AND value_a IS NULL) AS broken_a,
        count(*) FILTER (rank_b = 1 AND value_b IS NULL) AS broken_b,
        count(*) FILTER (status = 'worse') AS worse,
        count(*) FILTER (status = 'better') AS better,
        count(*) FILTER (status = 'same') AS same,
        count(*) FILTER (status = 'added') AS added,
        count(*) FILTER (status = 'removed') AS removed,
        count(*) FILTER (matched_by = 'structure') AS renamed
    FROM compared
)
SELECT
    max_drop,
    mean_drop,
    CASE
        WHEN broken_a > 0 AND broken_b > 0 THEN 0.0
        WHEN broken_b > 0 THEN 'Infinity'::DOUBLE
        WHEN broken_a > 0 THEN '-Infinity'::DOUBLE
        WHEN worst_a = worst_b THEN 0.0
        WHEN $metric IN ('cosine-similarity', 'sqnr') THEN worst_a - worst_b
        ELSE worst_b - worst_a
    END AS worst_drop,
    worst_a,
    worst_b,
    worse,
    better,
    same,
    added,
    removed,
    renamed,
    (SELECT count(*) FROM calibration WHERE list_contains(changed, 'threshold'))
        AS changed_thresholds,
    (SELECT count(*) FROM calibration WHERE list_contains(changed, 'type')) AS changed_types
FROM counted
