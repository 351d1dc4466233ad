-- Which runs say that they run, and in which process?
--
-- :use internal
-- :about running
-- :column run_id VARCHAR key of runs
-- :column host VARCHAR? the machine
-- :column pid BIGINT? the process there
-- :column started_at TIMESTAMP in UTC
-- :unique run_id
SELECT run_id, host, pid, started_at FROM runs WHERE state = 'RUNNING' ORDER BY run_id
