-- What did a device, or its runtime, change from one run of kind device to another? Tensor by tensor.
--
-- Tensors are matched by name, devices by what they are called; one device that is left over on each side
-- is taken for the same one. A drop is how much worse the distance of simulation and device became, in the
-- metric's unit: positive is worse. parts_a and parts_b tell more than it: rounding alone moves distances.
--
-- :use user
-- :about runs
-- :param run_a VARCHAR a run of kind device: before
-- :param run_b VARCHAR a run of kind device: after
-- :optional metric VARCHAR='cosine-similarity' the metric of the distances, over all samples together
-- :optional tolerance DOUBLE=1e-6 a change that is not larger counts as none
-- :column device VARCHAR what the device is called in run_b; in run_a where run_b has no such device
-- :column device_a VARCHAR? what it is called in run_a; empty where it gave no such tensor there
-- :column device_b VARCHAR? likewise in run_b
-- :column position BIGINT place of the node that gives the tensor, in topological order from 1; 0 is an input
-- :column tensor VARCHAR the tensor
-- :column node VARCHAR? the node that gives it
-- :column is_output BOOLEAN whether it is an output of the model
-- :column status VARCHAR worse, better, same, added (not in run_a) or removed (not in run_b)
-- :column value_a DOUBLE? simulation to device in run_a; empty where it is NaN
-- :column value_b DOUBLE? the same in run_b
-- :column drop DOUBLE? how much worse it became
-- :column quantization_a DOUBLE? float to simulation in run_a
-- :column quantization_b DOUBLE? the same in run_b
-- :column total_a DOUBLE? float to device in run_a
-- :column total_b DOUBLE? the same in run_b
-- :column ratio_a DOUBLE? its error over what rounding explains in run_a
-- :column ratio_b DOUBLE? the same in run_b
-- :column parts_a BOOLEAN? whether the device parts from the simulation there in run_a
-- :column parts_b BOOLEAN? the same in run_b
-- :column first_a BOOLEAN? whether it is the first tensor that parts in run_a
-- :column first_b BOOLEAN? the same in run_b
-- :unique device_a, device_b, tensor
WITH a AS (
    SELECT * FROM device_tensors($run_a, $metric)
),
b AS (
    SELECT * FROM device_tensors($run_b, $metric)
),
left_a AS (
    SELECT DISTINCT device FROM a WHERE device NOT IN (SELECT device FROM b)
),
left_b AS (
    SELECT DISTINCT device FROM b WHERE device NOT IN (SELECT device FROM a)
),
devices AS (
    SELECT DISTINCT device AS device_a, device AS device_b FROM a WHERE device IN (SELECT device FROM b)
    UNION ALL
    SELECT left_a.device, left_b.device
    FROM left_a, left_b
    WHERE (SELECT count(*) FROM left_a) = 1 AND (SELECT count(*) FROM left_b) = 1
),
named AS (
    SELECT a.*, d.device_b AS counterpart
    FROM a
    LEFT JOIN devices AS d ON d.device_a = a.device
),
paired AS (
    SELECT
        a.device AS device_a,
        b.device AS device_b,
        coalesce(b.device, a.counterpart, a.device) AS device,
        coalesce(b.position, a.position) AS position,
        coalesce(b.tensor, a.tensor) AS tensor,
        if(b.tensor IS NULL, a.node, b.node) AS node,
        coalesce(b.is_output, a.is_output) AS is_output,
        a.device_value AS value_a,
        b.device_value AS value_b,
        if(a.tensor IS NULL OR b.tensor IS NULL, NULL, drop_of($metric, a.device_value, b.device_value))
            AS drop,
        a.quantization AS quantization_a,
        b.quantization AS quantization_b,
        a.total AS total_a,
        b.total AS total_b,
        a.ratio AS ratio_a,
        b.ratio AS ratio_b,
        a.parts AS parts_a,
        b.parts AS parts_b,
        a.is_first AS first_a,
        b.is_first AS first_b
    FROM named AS a
    FULL JOIN b ON b.device = a.counterpart AND b.tensor = a.tensor
)
SELECT
    device,
    device_a,
    device_b,
    position,
    tensor,
    node,
    is_output,
    CASE
        WHEN device_a IS NULL THEN 'added'
        WHEN device_b IS NULL THEN 'removed'
        WHEN drop > $tolerance::DOUBLE THEN 'worse'
        WHEN drop < -$tolerance::DOUBLE THEN 'better'
        ELSE 'same'
    END AS status,
    value_a,
    value_b,
    drop,
    quantization_a,
    quantization_b,
    total_a,
    total_b,
    ratio_a,
    ratio_b,
    parts_a,
    parts_b,
    first_a,
    first_b
FROM paired
ORDER BY device, position, tensor, device_a
