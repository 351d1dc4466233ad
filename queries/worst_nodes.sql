-- Which nodes of the newest finished ranking are worst?
--
-- :param metric VARCHAR the metric that ranks, such as cosine-similarity
-- :optional most BIGINT at most so many nodes
-- :column run_id VARCHAR the ranking
-- :column rank BIGINT 1 is the most sensitive
-- :column node VARCHAR the node
-- :column value DOUBLE the metric
SELECT run_id, rank, node, value
FROM ranked
WHERE metric = $metric
    AND run_id = (
        SELECT max(run_id) FROM runs WHERE kind = 'sensitivity' AND state = 'FINISHED'
    )
ORDER BY rank
LIMIT $most::BIGINT
