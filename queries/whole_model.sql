-- How bad is the whole model? What full quantization costs its outputs, in one run.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run that measured the fully quantized model
-- :column metric VARCHAR cosine-similarity, mse, mre, sqnr or chebyshev
-- :column value DOUBLE? the mean over samples and outputs; empty where it is NaN for every sample
-- :column infinite BIGINT infinite values, of a sample and output, that the mean leaves out
-- :column all_zero BIGINT samples and outputs whose float output is all zero
-- :column elements BIGINT number of elements of the smallest output compared
-- :unique metric
SELECT metric, value, infinite, all_zero, elements
FROM subject_values
WHERE run_id = $run_id AND role = 'reference'
ORDER BY metric
