-- Which nodes of the newest finished ranking are worst?
--
-- :use user
-- :about ranking
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :optional most BIGINT at most so many nodes
-- :column run_id VARCHAR the ranking
-- :column rank BIGINT 1 is the most sensitive
-- :column node VARCHAR the node
-- :column value DOUBLE? the metric; empty where it is NaN
-- :column infinite BIGINT infinite values, of a sample and output, that the mean leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :unique rank
SELECT run_id, rank, node, value, infinite, all_zero
FROM ranked
WHERE metric = known_metric($metric)
    AND run_id = (
        SELECT max(run_id) FROM runs WHERE kind = 'sensitivity' AND state = 'FINISHED'
    )
ORDER BY rank
LIMIT $most::BIGINT
