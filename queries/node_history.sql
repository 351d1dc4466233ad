-- How sensitive was a node in every finished ranking, oldest first?
--
-- :use user
-- :about node
-- :param node VARCHAR the node
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :column run_id VARCHAR the ranking
-- :column started_at TIMESTAMP in UTC
-- :column model VARCHAR the model's name for people: its file's stem, with the folder where that says nothing
-- :column model_id VARCHAR key of models
-- :column data_id VARCHAR key of samples
-- :column rank BIGINT 1 is the most sensitive
-- :column value DOUBLE? the metric; empty where it is NaN
-- :column infinite BIGINT infinite values, of a sample and output, that the mean leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :unique run_id
SELECT
    k.run_id,
    r.started_at,
    model_label(r.model_path, m.name) AS model,
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
