-- What did quantizing this node alone cost, run after run? Runs of one model file, or of one content.
--
-- Infinite values are left out of a mean, unless there are no others.
--
-- :use internal
-- :about alike
-- :param run_id VARCHAR a run of the model
-- :param node VARCHAR the node
-- :column run_id VARCHAR key of runs, oldest first
-- :column started_at TIMESTAMP in UTC
-- :column same_model BOOLEAN whether the content of the model was the same
-- :column data_num BIGINT number of samples
-- :column outputs VARCHAR[] the tensors that were compared
-- :column cosine_similarity DOUBLE? mean over samples per output, NaN skipped, then over outputs
-- :column mse DOUBLE? likewise
-- :column mre DOUBLE? likewise
-- :column sqnr DOUBLE? likewise, in dB
-- :column chebyshev DOUBLE? likewise
-- :column infinite BIGINT infinite values, of a sample and output, that a mean leaves out; of the metric with most
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :unique run_id
WITH alike AS (
    SELECT other.*, other.model_id = run.model_id AS same_model
    FROM runs AS run
    JOIN runs AS other
        ON other.model_id = run.model_id OR other.model_path = run.model_path
    WHERE run.run_id = $run_id
)
SELECT
    a.run_id,
    a.started_at,
    a.same_model,
    a.data_num,
    a.outputs,
    any_value(v.value) FILTER (v.metric = 'cosine-similarity') AS cosine_similarity,
    any_value(v.value) FILTER (v.metric = 'mse') AS mse,
    any_value(v.value) FILTER (v.metric = 'mre') AS mre,
    any_value(v.value) FILTER (v.metric = 'sqnr') AS sqnr,
    any_value(v.value) FILTER (v.metric = 'chebyshev') AS chebyshev,
    max(v.infinite) AS infinite,
    any_value(v.all_zero) AS all_zero
FROM alike AS a
JOIN subject_values AS v USING (run_id)
WHERE v.subject = $node AND v.role = 'only'
GROUP BY ALL
ORDER BY a.run_id
