-- Every finished ranking with the place of each node, by any metric (also a view).
--
-- Nodes of equal value keep their topological order; one without a value ranks first.
--
-- :use view
-- :column run_id VARCHAR a run of kind sensitivity
-- :column model_id VARCHAR key of models
-- :column metric VARCHAR the metric that ranks
-- :column rank BIGINT 1 is the most sensitive
-- :column node VARCHAR the node, general or calibration
-- :column value DOUBLE? the metric; empty where it is NaN
-- :column infinite BIGINT infinite values, of a sample and output, that the mean leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :unique run_id, metric, rank
SELECT
    v.run_id,
    r.model_id,
    v.metric,
    row_number() OVER (
        PARTITION BY v.run_id, v.metric
        ORDER BY badness(v.metric, v.value) DESC NULLS FIRST, v.position
    ) AS rank,
    v.subject AS node,
    v.value,
    v.infinite,
    v.all_zero
FROM subject_values AS v
JOIN runs AS r USING (run_id)
WHERE r.kind = 'sensitivity' AND r.state = 'FINISHED' AND v.role = 'only'
