-- How sensitive was a node in every finished ranking, oldest first?
--
-- :param node VARCHAR the node
-- :param metric VARCHAR the metric, such as cosine-similarity
-- :column run_id VARCHAR the ranking
-- :column started_at TIMESTAMP in UTC
-- :column model VARCHAR the model's file, or the name of its graph
-- :column model_id VARCHAR key of models
-- :column data_id VARCHAR key of samples
-- :column rank BIGINT 1 is the most sensitive
-- :column value DOUBLE the metric; empty where it is NaN
-- :column infinite BIGINT infinite values, of a sample and output, that the mean leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
SELECT
    k.run_id,
    r.started_at,
    coalesce(r.model_path, m.name) AS model,
    k.model_id,
    r.data_id,
    k.rank,
    k.value,
    k.infinite,
    k.all_zero
FROM ranked AS k
JOIN runs AS r USING (run_id)
LEFT JOIN models AS m ON m.model_id = k.model_id
WHERE k.metric = known_metric($metric) AND k.node = $node
ORDER BY k.run_id
