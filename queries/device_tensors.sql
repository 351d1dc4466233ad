-- Where does a device part from the simulation? Its tensors in topological order.
--
-- Three distances: float to simulation (what quantization costs), simulation to device (what the device
-- adds), float to device (both). Its own error is that of the tensor computed in simulation from what the
-- device itself gave before it, so that what came in with its inputs does not count. Rounding moves such
-- a tensor by a step of the quantizer that reads it at most: it parts where its own error is above 1.5
-- steps somewhere, or, where no quantizer reads it, above a thousandth of its norm. Where quantizers lie
-- between it and the dumped tensors before it, rounding in those adds up; it parts then where, besides,
-- simulation and device are apart (root mean square) by more than all of: 4 times what inputs moved by about
-- 1e-7 change, 0.3 times the distance of float and simulation, and 0.1 steps. NaN or Inf that the simulation has
-- not part as well.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind device
-- :optional metric VARCHAR='cosine-similarity' the metric of the distances, over all samples together
-- :column device VARCHAR what the device is called
-- :column position BIGINT place of the node that gives the tensor, in topological order from 1; 0 is an input
-- :column tensor VARCHAR the tensor
-- :column node VARCHAR? the node that gives it
-- :column is_output BOOLEAN whether it is an output of the model
-- :column samples BIGINT number of samples
-- :column quantization DOUBLE? float to simulation
-- :column device_value DOUBLE? simulation to device
-- :column total DOUBLE? float to device
-- :column own DOUBLE? the metric of its own error
-- :column own_steps DOUBLE? its largest own error in steps; empty where no quantizer reads it
-- :column hidden BIGINT quantizers between it and the dumped tensors before it
-- :column ratio DOUBLE? its error over what rounding explains
-- :column parts BOOLEAN whether the device parts from the simulation by more than rounding explains
-- :column is_first BOOLEAN whether it is the first tensor of its device that parts
-- :column nonfinite BIGINT number of NaN and Inf that the device gave
-- :unique device, tensor
WITH summed AS (
    -- In a fixed order, so that the last digits do not depend on threads.
    SELECT
        device,
        tensor,
        if(starts_with(pair, 'rounding'), 'rounding', pair) AS pair,
        any_value(position) AS position,
        any_value(node) AS node,
        any_value(is_output) AS is_output,
        any_value(step) AS step,
        any_value(hidden) AS hidden,
        count(DISTINCT sample_id) AS samples,
        sum(count)::BIGINT AS elements,
        sum(nonfinite_x)::BIGINT AS nonfinite_x,
        sum(nonfinite_y)::BIGINT AS nonfinite_y,
        sum(sum_xx ORDER BY sample_id, pair) AS xx,
        sum(sum_yy ORDER BY sample_id, pair) AS yy,
        sum(sum_xy ORDER BY sample_id, pair) AS xy,
        sum(sum_dd ORDER BY sample_id, pair) AS dd,
        sum(sum_abs_d ORDER BY sample_id, pair) AS abs_d,
        sum(sum_abs_x ORDER BY sample_id, pair) AS abs_x,
        max(max_abs_d) AS chebyshev
    FROM device_tensors_rows
    WHERE run_id = $run_id
    GROUP BY ALL
),
measured AS (
    SELECT
        *,
        sqrt(dd / elements) AS rms,
        MAP {
            'cosine-similarity': cosine_of(xx, yy, xy, dd),
            'mse': dd / elements,
            'mre': mre_of(abs_d, abs_x),
            'sqnr': sqnr_of(xx, dd),
            'chebyshev': chebyshev
        }[known_metric($metric)] AS value
    FROM summed
),
wide AS (
    SELECT
        device,
        tensor,
        any_value(position) AS position,
        any_value(node) AS node,
        any_value(is_output) AS is_output,
        max(samples) AS samples,
        any_value(hidden) AS hidden,
        any_value(if(isnan(value), NULL, value)) FILTER (pair = 'own') AS own,
        any_value(chebyshev / step) FILTER (pair = 'own') AS own_steps,
        any_value(if(xx > 0, sqrt(dd / xx), if(dd > 0, 'Infinity'::DOUBLE, 0))) FILTER (pair = 'own') AS own_share,
        any_value(if(isnan(value), NULL, value)) FILTER (pair = 'quantization') AS quantization,
        any_value(if(isnan(value), NULL, value)) FILTER (pair = 'device') AS device_value,
        any_value(if(isnan(value), NULL, value)) FILTER (pair = 'total') AS total,
        greatest(
            4 * max(rms) FILTER (pair = 'rounding'),
            0.3 * max(rms) FILTER (pair = 'quantization'),
            coalesce(0.1 * any_value(step), 0)
        ) AS rounding,
        any_value(if(isnan(rms), NULL, rms)) FILTER (pair = 'device') AS apart,
        any_value(nonfinite_y) FILTER (pair = 'device') AS nonfinite,
        any_value(nonfinite_y > nonfinite_x) FILTER (pair = 'device') AS is_broken
    FROM measured
    GROUP BY device, tensor
),
told AS (
    SELECT
        *,
        coalesce(own_steps / 1.5, own_share / 1e-3) AS own_ratio,
        CASE
            WHEN hidden = 0 THEN own_ratio
            -- What agrees with what was put in needs no further excuse.
            WHEN rounding > 0 THEN least(apart / rounding, own_ratio)
            WHEN apart = 0 THEN 0
            ELSE coalesce(own_ratio, 'Infinity'::DOUBLE)
        END AS ratio,
        coalesce(ratio > 1, true) OR is_broken AS parts
    FROM wide
)
SELECT
    device,
    position,
    tensor,
    node,
    is_output,
    samples,
    quantization,
    device_value,
    total,
    own,
    own_steps,
    hidden,
    if(isnan(ratio), NULL, ratio) AS ratio,
    parts,
    parts AND row_number() OVER (PARTITION BY device, parts ORDER BY position, tensor) = 1 AS is_first,
    nonfinite
FROM told
ORDER BY device, position, tensor
