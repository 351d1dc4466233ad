-- Two calibrations of one network node by node, the largest change of threshold first.
--
-- :param run_id VARCHAR a run
-- :param other_run_id VARCHAR another run, with which it is compared
-- :column node VARCHAR the calibration node
-- :column kind VARCHAR weight or activation
-- :column qtype VARCHAR type in the run; empty where it has no such node
-- :column other_qtype VARCHAR type in the other run
-- :column threshold DOUBLE the largest absolute threshold in the run
-- :column other_threshold DOUBLE the largest absolute threshold in the other run
-- :column ratio DOUBLE the run's threshold divided by the other's
WITH nodes AS (
    SELECT
        r.run_id,
        c.node,
        c.kind,
        c.qtype,
        c.node_index,
        list_max(list_transform(c.thresholds, lambda t: abs(t))) AS threshold
    FROM runs AS r
    JOIN calibration_nodes AS c USING (model_id)
),
a AS (SELECT * FROM nodes WHERE run_id = $run_id),
b AS (SELECT * FROM nodes WHERE run_id = $other_run_id)
SELECT
    coalesce(a.node, b.node) AS node,
    coalesce(a.kind, b.kind) AS kind,
    a.qtype,
    b.qtype AS other_qtype,
    a.threshold,
    b.threshold AS other_threshold,
    a.threshold / nullif(b.threshold, 0) AS ratio
FROM a
FULL JOIN b ON a.node = b.node
ORDER BY abs(ln(nullif(ratio, 0))) DESC NULLS FIRST, coalesce(a.node_index, b.node_index), node
