-- What did the runs cost, and what did the lake save them? The dearest first.
--
-- Time of a runall holds the time of its steps.
--
-- :use user
-- :column run_id VARCHAR key of runs
-- :column kind VARCHAR the analysis
-- :column model VARCHAR the model's name for people: its file's stem, with the folder where that says nothing
-- :column state VARCHAR RUNNING, FINISHED, FAILED or KILLED
-- :column seconds DOUBLE? from start to end; empty while it runs
-- :column compared BIGINT measurements that the run rests on
-- :column measured BIGINT those of them that it made itself; the others were known
-- :column seconds_per_measurement DOUBLE? time over those it made
-- :unique run_id
WITH rests AS (
    SELECT run_id, count(DISTINCT (config_id, sample, output)) AS compared
    FROM results
    GROUP BY run_id
),
made AS (
    SELECT run_id, count(*) AS measured FROM measurements GROUP BY run_id
)
SELECT
    r.run_id,
    r.kind,
    model_label(r.model_path, m.name) AS model,
    r.state,
    date_diff('microseconds', r.started_at, r.ended_at) / 1e6 AS seconds,
    coalesce(rests.compared, 0) AS compared,
    coalesce(made.measured, 0) AS measured,
    seconds / nullif(made.measured, 0) AS seconds_per_measurement
FROM runs AS r
LEFT JOIN models AS m USING (model_id)
LEFT JOIN rests USING (run_id)
LEFT JOIN made USING (run_id)
ORDER BY seconds DESC NULLS LAST, r.run_id
