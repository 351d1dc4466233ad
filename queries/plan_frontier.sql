-- What else could be had, for more or for less? The points that a plan's search has measured.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind plan
-- :column config_id VARCHAR key of configs
-- :column role VARCHAR extreme, leave-one-out, search, removal or the walk that came by
-- :column moves BIGINT number of slots that it changes
-- :column cost DOUBLE what it adds to the cost of the calibrated model
-- :column share DOUBLE? the same, of the cost with everything changed
-- :column value DOUBLE? its value on the samples that choose
-- :column keeps BOOLEAN whether it keeps the target with its margin
-- :column step BIGINT? number on the frontier, from 1; empty if another is cheaper and better
-- :column chosen BOOLEAN whether it is the plan
-- :unique config_id
SELECT
    t.config_id,
    t.role,
    t.moves,
    t.cost,
    t.cost / nullif(p.cost_of_all, 0) AS share,
    t.value,
    t.keeps,
    t.step,
    t.chosen
FROM plan_points AS t
JOIN plans AS p USING (run_id)
WHERE t.run_id = $run_id
ORDER BY t.cost, t.moves, t.config_id
