-- Two runs of kind device compared in numbers: the quantities of --fail-if.
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run of kind device: before
-- :param run_b VARCHAR a run of kind device: after
-- :optional metric VARCHAR='cosine-similarity' the metric of the distances
-- :optional tolerance DOUBLE=1e-6 a change that is not larger counts as none
-- :column newly_parting BIGINT tensors of both that part from the simulation in run_b, and did not in run_a
-- :column no_longer_parting BIGINT tensors of both that parted in run_a, and do not in run_b
-- :column parting_a BIGINT tensors that part in run_a
-- :column parting_b BIGINT tensors that part in run_b
-- :column output_drop DOUBLE? how much worse simulation and device agree at the output that dropped most; empty if no output is in both
-- :column max_drop DOUBLE? largest drop of a tensor that both have; 0 if none became worse, empty if they have none in common
-- :column worse BIGINT tensors that became worse
-- :column better BIGINT tensors that became better
-- :column same BIGINT tensors that stayed the same
-- :column added BIGINT tensors that only run_b has
-- :column removed BIGINT tensors that only run_a has
-- :unique
SELECT
    count(*) FILTER (parts_b AND NOT parts_a) AS newly_parting,
    count(*) FILTER (parts_a AND NOT parts_b) AS no_longer_parting,
    count(*) FILTER (parts_a) AS parting_a,
    count(*) FILTER (parts_b) AS parting_b,
    max(drop) FILTER (is_output) AS output_drop,
    -- greatest() takes no notice of NULL, and nothing in common is no drop of 0.
    if(count(drop) > 0, greatest(max(drop), 0), NULL) AS max_drop,
    count(*) FILTER (status = 'worse') AS worse,
    count(*) FILTER (status = 'better') AS better,
    count(*) FILTER (status = 'same') AS same,
    count(*) FILTER (status = 'added') AS added,
    count(*) FILTER (status = 'removed') AS removed
FROM compare_devices($run_a, $run_b, $metric, $tolerance)
