-- What did quantizing this node alone cost, run after run? Runs of one model file, or of one content.
--
-- :param run_id VARCHAR a run of the model
-- :param node VARCHAR the node
-- :column run_id VARCHAR key of runs, oldest first
-- :column started_at TIMESTAMP in UTC
-- :column same_model BOOLEAN whether the content of the model was the same
-- :column data_num BIGINT number of samples
-- :column outputs VARCHAR[] the tensors that were compared
-- :column cosine_similarity DOUBLE mean over samples per output, NaN skipped, then over outputs
-- :column mse DOUBLE likewise
-- :column mre DOUBLE likewise
-- :column sqnr DOUBLE likewise, in dB
-- :column chebyshev DOUBLE likewise
WITH alike AS (
    SELECT other.*, other.model_id = run.model_id AS same_model
    FROM runs AS run
    JOIN runs AS other
        ON other.model_id = run.model_id OR other.model_path = run.model_path
    WHERE run.run_id = $run_id
),
per_output AS (
    SELECT
        run_id,
        output,
        avg(if(isnan(cosine_similarity), NULL, cosine_similarity) ORDER BY sample)
            AS cosine_similarity,
        avg(if(isnan(mse), NULL, mse) ORDER BY sample) AS mse,
        avg(if(isnan(mre), NULL, mre) ORDER BY sample) AS mre,
        avg(if(isnan(sqnr), NULL, sqnr) ORDER BY sample) AS sqnr,
        avg(if(isnan(chebyshev), NULL, chebyshev) ORDER BY sample) AS chebyshev
    FROM results
    WHERE subject = $node AND role = 'only'
    GROUP BY run_id, output
)
SELECT
    a.run_id,
    a.started_at,
    a.same_model,
    a.data_num,
    a.outputs,
    avg(p.cosine_similarity ORDER BY p.output) AS cosine_similarity,
    avg(p.mse ORDER BY p.output) AS mse,
    avg(p.mre ORDER BY p.output) AS mre,
    avg(p.sqnr ORDER BY p.output) AS sqnr,
    avg(p.chebyshev ORDER BY p.output) AS chebyshev
FROM alike AS a
JOIN per_output AS p USING (run_id)
GROUP BY ALL
ORDER BY a.run_id
