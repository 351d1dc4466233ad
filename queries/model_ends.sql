-- What goes into the model of a run, and what comes out.
--
-- :use internal
-- :param run_id VARCHAR a run
-- :column model_id VARCHAR key of models
-- :column name VARCHAR name of the graph
-- :column inputs VARCHAR[] as name: dtype[shape]
-- :column outputs VARCHAR[] likewise
-- :unique
SELECT model_id, m.name, m.inputs, m.outputs
FROM models AS m
JOIN runs USING (model_id)
WHERE run_id = $run_id
