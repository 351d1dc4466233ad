-- Which samples change their answer? Each sample with its scores, and the nodes that alone change it.
--
-- A sample changes its answer where its score is not what the float model scores. The nodes were
-- measured alone on those samples only.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind sensitive-samples, or of kind sensitivity, with scores
-- :column sample BIGINT place of the sample in the run's data, from 0
-- :column source VARCHAR the file, or the place in the arrays that were given
-- :column place BIGINT place of the score among those of the run; 0 ranks
-- :column score VARCHAR name of the score
-- :column value DOUBLE? with all nodes quantized; empty of a class
-- :column float_value DOUBLE? of the float model; empty of a class
-- :column lost DOUBLE? how much worse than in float; empty of a class
-- :column changed BOOLEAN? whether value is not float_value; empty of a class
-- :column nodes VARCHAR[]? the nodes that alone change it, in topological order
-- :unique sample, score
WITH valued AS (
    FROM score_values($run_id)
),
better AS (
    SELECT DISTINCT score, higher_is_better FROM run_scores WHERE run_id = $run_id
),
alone AS (
    SELECT
        score,
        sample,
        list(subject ORDER BY position) AS nodes
    FROM valued
    WHERE role = 'only' AND abs(value - float_value) > 1e-12
    GROUP BY score, sample
)
SELECT
    v.sample,
    v.source,
    v.place,
    v.score,
    v.value,
    v.float_value,
    if(b.higher_is_better, v.float_value - v.value, v.value - v.float_value) AS lost,
    abs(v.value - v.float_value) > 1e-12 AS changed,
    a.nodes
FROM valued AS v
JOIN better AS b USING (score)
LEFT JOIN alone AS a USING (score, sample)
WHERE v.role = 'reference'
ORDER BY v.place, v.sample
