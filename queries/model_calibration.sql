-- How was a model calibrated? The newest finished calibration in the lake that made it.
--
-- :use internal
-- :about newest
-- :param made VARCHAR the model that was made, a key of models
-- :column run_id VARCHAR the run of calibrate
-- :column method VARCHAR? how the thresholds of activations were found
-- :column weight_method VARCHAR? likewise of weights
-- :column activation_type VARCHAR? the type of activations, where no other was given
-- :unique
SELECT
    run_id,
    json_extract_string(parameters, '$.method') AS method,
    json_extract_string(parameters, '$.weight_method') AS weight_method,
    json_extract_string(parameters, '$.activation_type') AS activation_type
FROM runs
WHERE model_id = $made AND kind = 'calibration' AND state = 'FINISHED'
ORDER BY run_id DESC
LIMIT 1
