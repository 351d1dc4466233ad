-- Why does each node cost accuracy? The causes that one diagnosis found, the worst node first.
--
-- Values at the model's output are means over the judged samples per output, then over outputs: of a
-- run with several samples those with odd positions, on which no remedy was fitted. What is said of the
-- tensor itself is of all samples. Formulas and sources: docs/diagnosis.md.
--
-- :use user
-- :about runs
-- :param run_id VARCHAR a run of kind diagnosis
-- :optional metric VARCHAR='cosine-similarity' the metric of together, alone, clipping and rounding
-- :column position BIGINT place of the general node, 0 is the worst
-- :column subject VARCHAR the general node
-- :column op_type VARCHAR? its operator
-- :column node VARCHAR the calibration node that feeds it
-- :column kind VARCHAR? weight or activation
-- :column qtype VARCHAR? its type
-- :column bits BIGINT? width of the type
-- :column scales BIGINT? number of scales
-- :column together DOUBLE? the metric at the output where all quantizers of the general node are on
-- :column alone DOUBLE? where only this one is
-- :column clipping DOUBLE? where only its clipping is
-- :column rounding DOUBLE? where only its rounding is
-- :column own_sqnr DOUBLE? 10 log10(sum x^2 / sum (x - y)^2) of its own tensor, in dB
-- :column clip_share DOUBLE? share of clipping in its own squared error, 0 to 1
-- :column saturation DOUBLE? share of the values that are clipped, 0 to 1
-- :column effective_bits DOUBLE? log2 of the levels that hold 99.9 % of the values
-- :column channel_bits DOUBLE? mean over channels of log2 of the levels in their ranges
-- :column outlier_ratio DOUBLE? largest |x| over the 99.9 % quantile of |x|
-- :column channels BIGINT? number of channels
-- :column dead_channels BIGINT? channels of zeros
-- :column lost_channels BIGINT? channels that are not zero, and all round to zero
-- :column imbalance DOUBLE? largest over smallest of the channels' largest |x|
-- :column worst_channel BIGINT? the channel with most of the error
-- :column worst_share DOUBLE? its share, 0 to 1
-- :column mean_shift DOUBLE? share of the error of the general node's output that a bias could take off
-- :unique subject, node
WITH judged AS (
    SELECT DISTINCT v.config_id, v.sample, v.output, v.value
    FROM metric_values AS v
    JOIN runs AS r USING (run_id)
    WHERE v.run_id = $run_id
        AND v.metric = known_metric($metric)
        AND (v.sample % 2 = 1 OR r.data_num = 1)
),
per_output AS (
    SELECT config_id, output, mean_of($metric, value, sample) AS value FROM judged GROUP BY ALL
),
valued AS (
    SELECT config_id, mean_of($metric, value, output) AS value FROM per_output GROUP BY ALL
)
SELECT
    c.position,
    c.subject,
    n.op_type,
    c.node,
    k.kind,
    k.qtype,
    k.bits,
    len(k.scales) AS scales,
    whole.value AS together,
    alone.value AS alone,
    clip.value AS clipping,
    round.value AS rounding,
    if(isfinite(sqnr_of(c.sum_xx, c.sum_dd)), sqnr_of(c.sum_xx, c.sum_dd), NULL) AS own_sqnr,
    c.clip_dd / nullif(c.clip_dd + c.round_dd, 0) AS clip_share,
    c.saturation,
    c.effective_bits,
    c.channel_bits,
    c.outlier_ratio,
    c.channels,
    c.dead_channels,
    c.lost_channels,
    c.imbalance,
    c.worst_channel,
    c.worst_share,
    c.mean_shift
FROM causes AS c
JOIN runs AS run USING (run_id)
LEFT JOIN nodes AS n ON n.model_id = run.model_id AND n.node = c.subject
LEFT JOIN calibration_nodes AS k ON k.model_id = run.model_id AND k.node = c.node
LEFT JOIN run_configs AS o ON o.run_id = c.run_id AND o.subject = c.subject AND o.role = 'only'
LEFT JOIN valued AS whole ON whole.config_id = o.config_id
LEFT JOIN valued AS alone ON alone.config_id = c.alone_id
LEFT JOIN valued AS clip ON clip.config_id = c.clip_id
LEFT JOIN valued AS round ON round.config_id = c.round_id
WHERE c.run_id = $run_id
ORDER BY c.position, k.node_index, c.node
