-- Which nodes are among the worst in every finished ranking that has them?
--
-- :use user
-- :optional metric VARCHAR='cosine-similarity' the metric
-- :optional top BIGINT=5 the worst so many of a ranking count
-- :column node VARCHAR the node
-- :column rankings BIGINT finished rankings that have it
-- :column models BIGINT models in them
-- :column mean_rank DOUBLE its mean rank
-- :column worst_value DOUBLE? the metric where it was worst; empty where it was NaN
-- :column infinite BIGINT infinite values that the rankings left out of its means
-- :unique node
SELECT
    node,
    count(*) AS rankings,
    count(DISTINCT model_id) AS models,
    avg(rank) AS mean_rank,
    if(bool_or(value IS NULL), NULL, arg_max(value, badness(metric, value))) AS worst_value,
    sum(infinite)::BIGINT AS infinite
FROM ranked
WHERE metric = known_metric($metric)
GROUP BY node
HAVING max(rank) <= $top::BIGINT
ORDER BY rankings DESC, mean_rank, node
