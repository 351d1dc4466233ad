-- Every measurement with its five metrics (also a view of the lake).
--
-- Formulas for x float, y quantized and d = x - y. Where the outputs are equal, the cosine similarity
-- is 1 to the last digit, so that nodes that change nothing tie; of outputs that are all zero it is 0.
--
-- :column model_id VARCHAR key of models
-- :column config_id VARCHAR key of configs
-- :column sample_id VARCHAR a sample's content hash
-- :column output VARCHAR name of the tensor
-- :column runtime VARCHAR what computed
-- :column numeric_version BIGINT version of what a measurement means
-- :column count BIGINT number of elements
-- :column nonfinite BIGINT number of NaN and Inf in both outputs
-- :column cosine_similarity DOUBLE x.y / (max(|x|, 1e-8) max(|y|, 1e-8))
-- :column mse DOUBLE mean of d^2
-- :column mre DOUBLE sum of |d| / sum of |x|
-- :column sqnr DOUBLE 20 log10(|x| / |d|) in dB
-- :column chebyshev DOUBLE largest |d|
SELECT DISTINCT ON (model_id, config_id, sample_id, output, runtime, numeric_version) *
FROM metric_rows
