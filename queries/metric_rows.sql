-- The measurements as they were written, with their five metrics: one may be there twice (also a view).
--
-- Formulas for x float, y quantized and d = x - y. Where the outputs are equal, the cosine similarity
-- is 1 to the last digit, so that nodes that change nothing tie; also where both are all zero.
--
-- :use internal
-- :column model_id VARCHAR key of models
-- :column config_id VARCHAR key of configs
-- :column sample_id VARCHAR a sample's content hash
-- :column output VARCHAR name of the tensor
-- :column runtime VARCHAR what computed
-- :column numeric_version BIGINT version of what a measurement means
-- :column count BIGINT number of elements
-- :column nonfinite BIGINT number of NaN and Inf in both outputs
-- :column all_zero BOOLEAN whether x is all zero, to which nothing is relative
-- :column cosine_similarity DOUBLE x.y / (max(|x|, 1e-8) max(|y|, 1e-8)), -1 to 1; 1 where x = y
-- :column mse DOUBLE mean of d^2
-- :column mre DOUBLE sum of |d| / sum of |x|; 0 where x = y
-- :column sqnr DOUBLE 20 log10(|x| / |d|) in dB; infinite where x = y
-- :column chebyshev DOUBLE largest |d|
SELECT
    model_id,
    config_id,
    sample_id,
    output,
    runtime,
    numeric_version,
    count,
    nonfinite_x + nonfinite_y AS nonfinite,
    sum_abs_x = 0 AS all_zero,
    cosine_of(sum_xx, sum_yy, sum_xy, sum_dd) AS cosine_similarity,
    sum_dd / count AS mse,
    mre_of(sum_abs_d, sum_abs_x) AS mre,
    sqnr_of(sum_xx, sum_dd) AS sqnr,
    max_abs_d AS chebyshev
FROM measurement_rows
