-- Which of the worst nodes make each other worse? Pairs quantized together against each alone.
--
-- Above 0 two nodes cost more together than the sum of both alone, below 0 less.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind interactions
-- :column node VARCHAR a node, the worse of the two
-- :column other VARCHAR the other; the node itself for what it costs alone
-- :column rank BIGINT rank of the node among the nodes that were paired, from 1
-- :column other_rank BIGINT rank of the other
-- :column samples BIGINT number of samples that it rests on
-- :column copies BIGINT moved copies of each of them
-- :column level DOUBLE how often such intervals hold what they are of
-- :column together DOUBLE mean squared error of both, as a share of the whole model's
-- :column value DOUBLE together, less what each costs alone; of a node itself, what it costs
-- :column low DOUBLE? its interval; empty where there is none
-- :column high DOUBLE? likewise
-- :column interacts BOOLEAN whether value is more than noise, for all pairs together
-- :unique rank, other_rank
SELECT
    node,
    other,
    rank,
    other_rank,
    samples,
    copies,
    level,
    together,
    value,
    low,
    high,
    interacts
FROM interactions
WHERE run_id = $run_id
ORDER BY rank, other_rank
