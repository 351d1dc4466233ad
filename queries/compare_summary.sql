-- Two rankings compared in numbers: the quantities of --fail-if.
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run of kind sensitivity: before
-- :param run_b VARCHAR a run of kind sensitivity: after
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :optional tolerance DOUBLE=1e-6 a change that is not larger counts as none
-- :column whole_drop DOUBLE? how much worse the fully quantized model became; empty if a run has not measured it
-- :column whole_a DOUBLE? the metric of the fully quantized model in run_a
-- :column whole_b DOUBLE? the same in run_b
-- :column max_drop DOUBLE? largest drop of a node that both have; 0 if none became worse, empty if they have none in common
-- :column mean_drop DOUBLE? mean drop of the nodes that both have, better ones counted against it, but for those that are infinitely better
-- :column worst_drop DOUBLE? drop from the worst node of run_a to the worst of run_b, whichever they are
-- :column worst_a DOUBLE? the metric of the worst node of run_a
-- :column worst_b DOUBLE? the metric of the worst node of run_b
-- :column worse BIGINT nodes that became worse
-- :column better BIGINT nodes that became better
-- :column same BIGINT nodes that stayed the same
-- :column added BIGINT nodes that only run_b has
-- :column removed BIGINT nodes that only run_a has
-- :column renamed BIGINT nodes that were matched by structure
-- :column changed_thresholds BIGINT calibration nodes whose thresholds differ
-- :column changed_types BIGINT calibration nodes whose type differs
-- :column infinite BIGINT nodes of both whose drop is infinite, from or to NaN or an infinite value
-- :unique
WITH whole AS (
    SELECT
        any_value(value) FILTER (run_id = $run_a) AS whole_a,
        any_value(value) FILTER (run_id = $run_b) AS whole_b
    FROM subject_values
    WHERE run_id IN ($run_a, $run_b) AND role = 'reference' AND metric = $metric
),
compared AS (
    FROM compare_nodes($run_a, $run_b, $metric, $tolerance)
),
calibration AS (
    FROM compare_calibration($run_a, $run_b)
),
counted AS (
    SELECT
        -- greatest() takes no notice of NULL, and nothing in common is no drop of 0.
        if(count(drop) > 0, greatest(max(drop), 0), NULL) AS max_drop,
        -- What became infinitely better must not hide what became worse.
        coalesce(avg(drop) FILTER (drop > '-Infinity'::DOUBLE), max(drop)) AS mean_drop,
        count(*) FILTER (isinf(drop)) AS infinite,
        -- Rank 1 is the worst, also where its value is NaN.
        any_value(value_a) FILTER (rank_a = 1) AS worst_a,
        any_value(value_b) FILTER (rank_b = 1) AS worst_b,
        count(rank_a) > 0 AND count(rank_b) > 0 AS has_both,
        count(*) FILTER (status = 'worse') AS worse,
        count(*) FILTER (status = 'better') AS better,
        count(*) FILTER (status = 'same') AS same,
        count(*) FILTER (status = 'added') AS added,
        count(*) FILTER (status = 'removed') AS removed,
        count(*) FILTER (matched_by = 'structure') AS renamed
    FROM compared
)
SELECT
    (SELECT if(whole_a IS NULL OR whole_b IS NULL, NULL, drop_of($metric, whole_a, whole_b)) FROM whole)
        AS whole_drop,
    (SELECT whole_a FROM whole) AS whole_a,
    (SELECT whole_b FROM whole) AS whole_b,
    max_drop,
    mean_drop,
    if(has_both, drop_of($metric, worst_a, worst_b), NULL) AS worst_drop,
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
    (SELECT count(*) FROM calibration WHERE list_contains(changed, 'type')) AS changed_types,
    infinite
FROM counted
