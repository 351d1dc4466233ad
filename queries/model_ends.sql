-- What goes into the model of a run, what comes out, and what measured it.
--
-- :use internal
-- :about runs
-- :param run_id VARCHAR a run
-- :column model_id VARCHAR key of models
-- :column name VARCHAR name of the graph
-- :column inputs VARCHAR[] as name: dtype[shape]
-- :column outputs VARCHAR[] likewise
-- :column runtime VARCHAR? what computed, such as onnxruntime-1.32.0
-- :column package_version VARCHAR? version of hmct-track
-- :unique
SELECT model_id, m.name, m.inputs, m.outputs, runtime, package_version
FROM models AS m
JOIN runs USING (model_id)
WHERE run_id = $run_id
