-- What share of the whole model's error does each node cause? Mean squared errors; 1 is all of it.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a ranking that measured shares (--share)
-- :column rank BIGINT 1 has the largest share
-- :column position BIGINT place of the node in the run's plan
-- :column subject VARCHAR the node
-- :column samples BIGINT number of samples that it rests on
-- :column copies BIGINT moved copies of each of them, the same for all nodes
-- :column level DOUBLE how often such intervals hold what they are of
-- :column share DOUBLE the part of the whole model's error that is gone without the node
-- :column share_low DOUBLE? its interval; empty where there is none
-- :column share_high DOUBLE? likewise
-- :column told BOOLEAN whether share is told apart from 0, for all nodes together
-- :column alone DOUBLE the error of the node alone, as a share of the whole model's
-- :column alone_low DOUBLE? its interval
-- :column alone_high DOUBLE? likewise
-- :column gap DOUBLE share - alone: above 0 others make it worse, below 0 they hide it
-- :column rounding DOUBLE? standard deviation of share that rounding makes
-- :column interacts BOOLEAN whether the gap is more than noise, for all nodes together
-- :unique position
SELECT
    row_number() OVER (ORDER BY share DESC, position) AS rank,
    position,
    subject,
    samples,
    copies,
    level,
    share,
    share_low,
    share_high,
    told,
    alone,
    alone_low,
    alone_high,
    gap,
    rounding,
    interacts
FROM shares
WHERE run_id = $run_id AND role = 'only'
ORDER BY rank
