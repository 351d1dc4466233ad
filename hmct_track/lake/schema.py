"""The lake's tables: names, types and meaning of every column. Users write SQL against them."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA_VERSION = 6
"""Raised when a table or a column is added. Parts written before lack it and read as NULL there."""

FILLED = frozenset({"version", "imported_from"})
"""Columns that a writer may leave out; they are NULL then."""

OWN_STEP = 2
"""By how much a run's rows rise in version. What others say of it, such as that it was killed, goes
between: should the run write another row after all, that one holds."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its DuckDB type and what it holds."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table: its columns and the key under which a row written twice counts once."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    latest_by: str = ""
    """The SQL order in which the first of the rows of one key wins; empty if they are all the same.
    """
    rows_view: str = ""
    """A view of the rows as they were written, for queries that join first and then take each key
    once: DuckDB passes what a join looks for down to the parts, but not through a DISTINCT."""


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from lines of ``name type meaning``."""
    rows = (line.split(maxsplit=2) for line in text.strip().splitlines())
    return tuple(Column(*row) for row in rows)


RUNS = Table(
    "runs",
    "one analysis that was started",
    ("run_id",),
    _columns("""
        run_id           VARCHAR    start in UTC to the millisecond and a random part; sorts by time
        kind             VARCHAR    the analysis: sensitivity, error-accumulation, ...
        state            VARCHAR    RUNNING, FINISHED, FAILED or KILLED
        started_at       TIMESTAMP  in UTC
        ended_at         TIMESTAMP  in UTC; empty while it runs
        model_id         VARCHAR    key of models
        model_path       VARCHAR    the model file; empty if it was given as an object
        data_id          VARCHAR    key of samples: the samples that the run used
        data_path        VARCHAR    the data folder; empty if arrays were given
        data_num         BIGINT     number of samples used
        metrics          VARCHAR[]  the metrics asked for, the one that ranks first
        outputs          VARCHAR[]  the tensors that were compared
        parameters       VARCHAR    what the user passed, as JSON
        runtime          VARCHAR    what computed, such as onnxruntime-1.32.0
        numeric_version  BIGINT     version of what a measurement means
        package_version  VARCHAR    version of hmct-track
        mlflow_run_id    VARCHAR    the run in MLflow; empty if it is not tracked there
        mlflow_uri       VARCHAR    where MLflow keeps it, without secrets
        error            VARCHAR    why it failed
        parent_run_id    VARCHAR    the run that this one is a step of; empty if it is none
        worst_node       VARCHAR    the most sensitive node that it found; empty if it ranks none
        worst_value      DOUBLE     the first metric of that node
        whole_value      DOUBLE     the first metric of the fully quantized model; empty if unknown
        noise_floor      DOUBLE     how far the float model in parts is from the whole, as a share
        float_gap        DOUBLE     SQNR in dB of the float reference against the given float model
        host             VARCHAR    the machine that it runs on
        pid              BIGINT     its process there
        updated_at       TIMESTAMP  in UTC, by the clock of who wrote the row
        version          BIGINT     rises with the rows of a run, of which the highest holds
        imported_from    VARCHAR    the file that it was imported from; empty if it was made here
    """),
    # Clocks go back. What ended does not run again, also where an older program gave no version.
    latest_by="coalesce(version, 0) DESC, state = 'RUNNING', updated_at DESC",
)
TAGS = Table(
    "tags",
    "a name that points at a run, such as baseline",
    ("tag",),
    _columns("""
        tag            VARCHAR    the name
        run_id         VARCHAR    key of runs; empty if the name was taken away
        updated_at     TIMESTAMP  in UTC, by the clock of who wrote the row
        version        BIGINT     rises with the rows of a tag, of which the highest holds
        imported_from  VARCHAR    the file that it was imported from; empty if it was set here
    """),
    latest_by="coalesce(version, 0) DESC, updated_at DESC, run_id",
)
NOTES = Table(
    "notes",
    "what somebody remarked on a run",
    ("run_id",),
    _columns("""
        run_id         VARCHAR    key of runs
        note           VARCHAR    one line; empty if it was taken away
        updated_at     TIMESTAMP  in UTC, by the clock of who wrote the row
        version        BIGINT     rises with the rows of a run, of which the highest holds
        imported_from  VARCHAR    the file that it was imported from; empty if it was written here
    """),
    latest_by="coalesce(version, 0) DESC, updated_at DESC, note",
)
MODELS = Table(
    "models",
    "a calibrated model, by content",
    ("model_id",),
    _columns("""
        model_id           VARCHAR  content hash of graph and weights
        name               VARCHAR  name of the graph
        opset              BIGINT   version of the ONNX operator set
        general_nodes      BIGINT   number of nodes that compute
        quantizable_nodes  BIGINT   number of those that calibration nodes feed
        calibration_nodes  BIGINT   number of calibration nodes
        inputs             VARCHAR[]  inputs as name: dtype[shape]
        outputs            VARCHAR[]  outputs as name: dtype[shape]
        imported_from      VARCHAR  the file that it was imported from; empty if it was made here
    """),
)
NODES = Table(
    "nodes",
    "a general node of a model: Conv, Add, ...",
    ("model_id", "node"),
    _columns("""
        model_id           VARCHAR    key of models
        node               VARCHAR    name, made up where the file has none
        node_index         BIGINT     position among the general nodes, in topological order
        op_type            VARCHAR    ONNX operator
        inputs             VARCHAR[]  names of its input tensors
        outputs            VARCHAR[]  names of its output tensors
        calibration_nodes  VARCHAR[]  the calibration nodes that feed it
    """),
)
CALIBRATION_NODES = Table(
    "calibration_nodes",
    "a calibration node of a model",
    ("model_id", "node"),
    _columns("""
        model_id     VARCHAR    key of models
        node         VARCHAR    name, made up where the file has none
        node_index   BIGINT     position among the calibration nodes, in topological order
        kind         VARCHAR    weight or activation
        input        VARCHAR    the tensor that it quantizes
        output       VARCHAR    the tensor that it gives out
        consumers    VARCHAR[]  the general nodes that read it
        qtype        VARCHAR    int8, uint8, int16, float16, ...
        bits         BIGINT     width of the type
        axis         BIGINT     channel axis
        scales       DOUBLE[]   one, or one per channel
        zero_points  BIGINT[]   as many as scales
        thresholds   DOUBLE[]   absolute maxima, or minimum and maximum one after the other
        enabled      BOOLEAN    false if its switch is OFF
    """),
)
SAMPLES = Table(
    "samples",
    "a sample in a set of samples that a run used",
    ("data_id", "position"),
    _columns("""
        data_id    VARCHAR  hash of the sample ids in their order
        position   BIGINT   position in the set, from 0
        sample_id  VARCHAR  content hash of the sample's arrays
        source     VARCHAR  the file, or the place in the arrays that were given
        imported_from  VARCHAR  the file that it was imported from; empty if it was made here
    """),
)
CONFIGS = Table(
    "configs",
    "a quantization configuration: what each calibration node does",
    ("config_id",),
    _columns("""
        config_id  VARCHAR  hash of the configuration
        config     VARCHAR  JSON: the default state and the nodes that differ from it
        imported_from  VARCHAR  the file that it was imported from; empty if it was made here
    """),
)
RUN_CONFIGS = Table(
    "run_configs",
    "a configuration that a run evaluated, and what it stands for there",
    ("run_id", "position"),
    _columns("""
        run_id     VARCHAR  key of runs
        position   BIGINT   position in the plan; topological order of the subjects
        config_id  VARCHAR  key of configs
        subject    VARCHAR  the node, or the curve, that it is about
        role       VARCHAR  only (all others off), without, pair, partial, curve or reference
    """),
)
MEASUREMENTS = Table(
    "measurements",
    "how an output of a configuration and sample differs (x float, y quantized)",
    ("model_id", "config_id", "sample_id", "output", "runtime", "numeric_version"),
    _columns("""
        model_id         VARCHAR  key of models
        config_id        VARCHAR  key of configs
        sample_id        VARCHAR  a sample's content hash, as in samples
        output           VARCHAR  name of the tensor
        runtime          VARCHAR  what computed
        numeric_version  BIGINT   version of what a measurement means
        run_id           VARCHAR  the run that measured
        count            BIGINT   number of elements
        sum_xx           DOUBLE   sum of x^2
        sum_yy           DOUBLE   sum of y^2
        sum_xy           DOUBLE   sum of x y
        sum_dd           DOUBLE   sum of (x - y)^2
        sum_abs_d        DOUBLE   sum of |x - y|
        sum_abs_x        DOUBLE   sum of |x|
        max_abs_d        DOUBLE   largest |x - y|
        nonfinite_x      BIGINT   number of NaN and Inf in x
        nonfinite_y      BIGINT   number of NaN and Inf in y
        imported_from    VARCHAR  the file that it was imported from; empty if it was made here
    """),
    rows_view="measurement_rows",
)
TENSOR_SUMMARIES = Table(
    "tensor_summaries",
    "statistics of what a node gives out, takes in or holds",
    ("run_id", "node", "series"),
    _columns("""
        run_id     VARCHAR  key of runs
        position   BIGINT   place of the node in the run's list
        node       VARCHAR  the node, general or calibration
        kind       VARCHAR  node_output, weight or activation
        series     VARCHAR  before or after quantization, error (after - before), or input
        threshold  DOUBLE   largest threshold of the calibration node; empty if there is none
        count      BIGINT   number of values
        min        DOUBLE   smallest finite value
        max        DOUBLE   largest finite value
        mean       DOUBLE   mean
        std        DOUBLE   population standard deviation
        q01        DOUBLE   1 % quantile
        q25        DOUBLE   lower quartile
        median     DOUBLE   median
        q75        DOUBLE   upper quartile
        q99        DOUBLE   99 % quantile
        abs_max    DOUBLE   largest absolute value
        zeros      BIGINT   number of zeros
        nan        BIGINT   number of NaN
        inf        BIGINT   number of infinite values
    """),
)
HISTOGRAMS = Table(
    "histograms",
    "a bin of the histogram of a series in tensor_summaries",
    ("run_id", "node", "series", "bin"),
    _columns("""
        run_id  VARCHAR  key of runs
        node    VARCHAR  the node
        series  VARCHAR  the series
        bin     BIGINT   from 0
        low     DOUBLE   lower edge
        high    DOUBLE   upper edge
        count   BIGINT   number of values in it
    """),
)
CHANNEL_SUMMARIES = Table(
    "channel_summaries",
    "box statistics of one channel of what a calibration node takes in",
    ("run_id", "node", "channel"),
    _columns("""
        run_id          VARCHAR   key of runs
        position        BIGINT    place of the node in the run's list
        node            VARCHAR   the calibration node
        axis            BIGINT    the dimension that holds the channels
        channel         BIGINT    from 0
        count           BIGINT    number of finite values
        min             DOUBLE    smallest value
        max             DOUBLE    largest value
        mean            DOUBLE    mean
        q25             DOUBLE    lower quartile
        median          DOUBLE    median
        q75             DOUBLE    upper quartile
        whisker_low     DOUBLE    smallest value within 1.5 IQR of the lower quartile
        whisker_high    DOUBLE    largest value within 1.5 IQR of the upper quartile
        outliers        BIGINT    number of values beyond the whiskers
        outlier_sample  DOUBLE[]  some of them, the extremes always among them
    """),
)
LOCAL_ERRORS = Table(
    "local_errors",
    "how far a quantizer moves its own tensor (x what it takes in, in float; y what it gives out)",
    ("run_id", "node", "error", "sample_id"),
    _columns("""
        run_id       VARCHAR  key of runs
        position     BIGINT   place of the node in the run's list; topological order
        node         VARCHAR  the calibration node
        error        VARCHAR  own (y is x quantized) or accumulated (y is of the quantized model)
        sample_id    VARCHAR  a sample's content hash; empty for a weight, the same in all
        count        BIGINT   number of elements
        sum_xx       DOUBLE   sum of x^2
        sum_yy       DOUBLE   sum of y^2
        sum_xy       DOUBLE   sum of x y
        sum_dd       DOUBLE   sum of (x - y)^2
        sum_abs_d    DOUBLE   sum of |x - y|
        sum_abs_x    DOUBLE   sum of |x|
        max_abs_d    DOUBLE   largest |x - y|
        nonfinite_x  BIGINT   number of NaN and Inf in x
        nonfinite_y  BIGINT   number of NaN and Inf in y
    """),
)
MOVED_MEASUREMENTS = Table(
    "moved_measurements",
    "as in measurements, with the sample's inputs moved by about 1e-7: no mean contains them",
    ("model_id", "config_id", "sample_id", "copy", "output", "runtime", "numeric_version"),
    _columns("""
        model_id         VARCHAR  key of models
        config_id        VARCHAR  key of configs
        sample_id        VARCHAR  the content hash of the sample that was moved
        copy             BIGINT   number of the moved copy, from 1
        output           VARCHAR  name of the tensor
        runtime          VARCHAR  what computed
        numeric_version  BIGINT   version of what a measurement means
        run_id           VARCHAR  the run that measured
        count            BIGINT   number of elements
        sum_xx           DOUBLE   sum of x^2
        sum_yy           DOUBLE   sum of y^2
        sum_xy           DOUBLE   sum of x y
        sum_dd           DOUBLE   sum of (x - y)^2
        sum_abs_d        DOUBLE   sum of |x - y|
        sum_abs_x        DOUBLE   sum of |x|
        max_abs_d        DOUBLE   largest |x - y|
        nonfinite_x      BIGINT   number of NaN and Inf in x
        nonfinite_y      BIGINT   number of NaN and Inf in y
    """),
)
CONFIDENCE = Table(
    "confidence",
    "how sure a metric of a configuration of a run is",
    ("run_id", "position", "metric"),
    _columns("""
        run_id             VARCHAR  key of runs
        position           BIGINT   place of the configuration in the run's plan
        subject            VARCHAR  what the configuration is about
        role               VARCHAR  what it does to it, as in run_configs
        metric             VARCHAR  the metric
        samples            BIGINT   number of samples that its value rests on
        level              DOUBLE   how often such intervals hold what they are of
        low                DOUBLE   the interval of the mean; empty if there is none
        high               DOUBLE   likewise
        method             VARCHAR  student, bootstrap or none
        rank_low           BIGINT   the interval of its rank; empty for one sample
        rank_high          BIGINT   likewise
        top_k              BIGINT   how many of the ranking top_k_probability is about
        top_k_probability  DOUBLE   to be among the top_k most sensitive, as far as the samples tell
        tie_group          BIGINT   first rank of its group of near ties; empty if it is told apart
        noise              DOUBLE   standard deviation of its value that rounding makes, if measured
        told_from_zero     BOOLEAN  whether its error is more than rounding
    """),
)
CAUSES = Table(
    "causes",
    "why a calibration node costs accuracy (x what it takes in, in float; y what it gives out)",
    ("run_id", "subject", "node"),
    _columns("""
        run_id           VARCHAR  key of runs
        position         BIGINT   place of the general node among those diagnosed, the worst first
        subject          VARCHAR  the general node
        node             VARCHAR  the calibration node that feeds it
        alone_id         VARCHAR  key of configs: only this calibration node is on
        clip_id          VARCHAR  key of configs: only its clipping; empty of float types
        round_id         VARCHAR  key of configs: only its rounding; empty likewise
        low              DOUBLE   smallest value of x
        high             DOUBLE   largest value of x
        elements         BIGINT   number of values, of all samples together
        sum_xx           DOUBLE   sum of x^2
        sum_dd           DOUBLE   sum of (x - y)^2
        clip_dd          DOUBLE   likewise, y only clipped
        round_dd         DOUBLE   likewise, y only rounded
        saturation       DOUBLE   share of the values that are clipped, 0 to 1
        effective_bits   DOUBLE   log2 of the levels that hold 99.9 % of the values
        outlier_ratio    DOUBLE   largest |x| over the 99.9 % quantile of |x|
        axis             BIGINT   the channels; empty where there are none
        channels         BIGINT   number of channels; empty likewise
        dead_channels    BIGINT   channels of zeros
        lost_channels    BIGINT   channels that are not zero, and all round to zero
        channel_bits     DOUBLE   mean over channels of log2 of the levels in their ranges
        imbalance        DOUBLE   largest over smallest of the channels' largest |x|, but dead ones
        worst_channel    BIGINT   the channel with most of sum_dd, from 0
        worst_share      DOUBLE   its share of sum_dd, 0 to 1
        mean_shift       DOUBLE   share of its output's error that is the means of channels
    """),
)
REMEDIES = Table(
    "remedies",
    "something that was tried about a node, and measured",
    ("run_id", "subject", "remedy"),
    _columns("""
        run_id     VARCHAR    key of runs
        position   BIGINT     place of the general node among those diagnosed, the worst first
        place      BIGINT     place of the remedy among those of the node
        subject    VARCHAR    the general node
        remedy     VARCHAR    in words, such as activation percentile 99.9
        family     VARCHAR    threshold, asymmetric, per-channel, bias, int16, ...
        price      VARCHAR    free, int16, float16 or float32
        nodes      VARCHAR[]  the calibration nodes that do something else
        before_id  VARCHAR    key of configs: only the node is quantized, as calibrated
        after_id   VARCHAR    key of configs: the same with the remedy
    """),
)
MENDING_STEPS = Table(
    "mending_steps",
    "a change that the search for a mended model took",
    ("run_id", "position"),
    _columns("""
        run_id    VARCHAR  key of runs
        position  BIGINT   place of the step, from 0
        step      VARCHAR  what was changed, in words
        nodes     BIGINT   number of nodes that it changed
        choosing  DOUBLE   mean gain over the samples that chose it, in dB
        checking  DOUBLE   mean gain over the samples that checked it, in dB
        compared  VARCHAR[]  the tensors whose errors gains are of
        held_out  DOUBLE   mean gain of this step and all before it over the held-out samples, in dB
        held_out_low   DOUBLE  lower end of its 95 % interval; empty of one sample
        held_out_high  DOUBLE  upper end
    """),
)
PLANS = Table(
    "plans",
    "a plan for mixed precision: what was asked for and what was found",
    ("run_id",),
    _columns("""
        run_id          VARCHAR  key of runs
        target          VARCHAR  what was to be reached, or the highest cost
        metric          VARCHAR  the metric of the values
        is_share        BOOLEAN  whether values are shares of the fully quantized model's mse
        config_id       VARCHAR  key of configs: the plan
        moves           BIGINT   number of slots that it changes
        slots           BIGINT   number of slots that can be changed
        cost            DOUBLE   what it adds to the cost of the calibrated model
        cost_of_all     DOUBLE   the same with everything changed
        unit            VARCHAR  what a cost counts
        samples         BIGINT   number of samples that chose it
        value           DOUBLE   its value on them
        margin          DOUBLE   by how much it is better than the target asks for, at least
        margin_factor   DOUBLE   by what that is wider than of one configuration
        halved          DOUBLE   how often what half of the samples choose keeps it on the others
        calibrated      DOUBLE   the value of the calibrated model on them, free remedies included
        freed           BOOLEAN  whether free remedies were taken first; empty if not asked for
        certified       BOOLEAN  whether each single removal was measured and misses the target
        stopped         BOOLEAN  whether the budget ended the search
        held_out        BIGINT   number of samples held out
        held_out_value  DOUBLE   its value on those; empty without any
        held_out_low    DOUBLE   lower end of the 90 % interval over those samples
        held_out_high   DOUBLE   upper end
        kept            BOOLEAN  whether the target is kept on them
        seconds         DOUBLE   from the first configuration to the last
    """),
)
PLAN_POINTS = Table(
    "plan_points",
    "a configuration that the search of a plan has measured",
    ("run_id", "config_id"),
    _columns("""
        run_id     VARCHAR  key of runs
        config_id  VARCHAR  key of configs
        role       VARCHAR  extreme, leave-one-out, search, removal or the walk that came by
        moves      BIGINT   number of slots that it changes
        cost       DOUBLE   what it adds to the cost of the calibrated model
        value      DOUBLE   its value on the samples that choose
        keeps      BOOLEAN  whether it keeps the target with its margin
        step       BIGINT   number on the frontier, from 1; empty if another is cheaper and better
        chosen     BOOLEAN  whether it is the plan
    """),
)
PLAN_MOVES = Table(
    "plan_moves",
    "what a plan says of a slot: a node, or what changes together",
    ("run_id", "slot"),
    _columns("""
        run_id             VARCHAR    key of runs
        slot               VARCHAR    the node, or the first of several
        position           BIGINT     its place in topological order
        nodes              VARCHAR[]  the general nodes
        calibration_nodes  VARCHAR[]  the calibration nodes that change
        qtype              VARCHAR    what they become; empty if they stay as calibrated
        price              DOUBLE     what that adds to the cost; of the first move if they stay
        without            DOUBLE     the value of the plan with this change alone taken back
    """),
)
DEVICE_TENSORS = Table(
    "device_tensors_rows",
    "how far float model, simulation and device are apart in a tensor of a sample",
    ("run_id", "device", "tensor", "pair", "sample_id"),
    _columns("""
        run_id       VARCHAR  key of runs
        device       VARCHAR  what the device is called
        tensor       VARCHAR  the tensor
        pair         VARCHAR  quantization, device, total, own, or rounding with a number
        sample_id    VARCHAR  a sample's content hash
        position     BIGINT   place of the node that gives it, from 1; 0 is an input
        node         VARCHAR  that node; empty of an input
        is_output    BOOLEAN  whether it is an output of the model
        step         DOUBLE   largest step of the quantizer that reads it; empty if there is none
        hidden       BIGINT   quantizers between it and the dumped tensors before it
        count        BIGINT   number of elements
        sum_xx       DOUBLE   sum of x^2
        sum_yy       DOUBLE   sum of y^2
        sum_xy       DOUBLE   sum of x y
        sum_dd       DOUBLE   sum of (x - y)^2
        sum_abs_d    DOUBLE   sum of |x - y|
        sum_abs_x    DOUBLE   sum of |x|
        max_abs_d    DOUBLE   largest |x - y|
        nonfinite_x  BIGINT   number of NaN and Inf in x
        nonfinite_y  BIGINT   number of NaN and Inf in y
    """),
)
RUN_SCORES = Table(
    "run_scores",
    "which record of a score a run uses for a sample",
    ("run_id", "score", "sample"),
    _columns("""
        run_id            VARCHAR  key of runs
        score             VARCHAR  name of the score
        place             BIGINT   its place among the run's scores, from 0; the first ranks
        source            VARCHAR  as it was asked for, such as scores.py:f1
        higher_is_better  BOOLEAN  whether a larger value is a better one
        sample            BIGINT   place of the sample in the run's data, from 0
        sample_id         VARCHAR  the sample's content hash
        score_id          VARCHAR  hash of the score's source, the sample's label and the outputs
    """),
)
SCORES = Table(
    "scores",
    "what a score made of one sample under a configuration, and of its float outputs",
    ("model_id", "config_id", "sample_id", "score_id", "runtime", "numeric_version"),
    _columns("""
        model_id         VARCHAR  key of models
        config_id        VARCHAR  key of configs
        sample_id        VARCHAR  a sample's content hash
        score_id         VARCHAR  hash of the score's source, the sample's label and the outputs
        runtime          VARCHAR  what computed
        numeric_version  BIGINT   version of what a measurement means
        run_id           VARCHAR  the run that measured
        value            DOUBLE   the score of the quantized outputs; empty of a class
        float_value      DOUBLE   the score of the float outputs; empty of a class
        part             VARCHAR  what a class keeps of the sample, as JSON; empty of a function
        float_part       VARCHAR  the same of the float outputs
        imported_from    VARCHAR  the file that it was imported from; empty if it was made here
    """),
    latest_by="imported_from IS NOT NULL, run_id",
)
SCORE_TOTALS = Table(
    "score_totals",
    "a score of a configuration of a run over all samples",
    ("run_id", "position", "score"),
    _columns("""
        run_id       VARCHAR  key of runs
        position     BIGINT   place of the configuration in the run's plan
        score        VARCHAR  name of the score
        samples      BIGINT   number of samples that it rests on
        value        DOUBLE   of the quantized outputs: the mean, or what the class gives
        float_value  DOUBLE   the same of the float outputs
        value_low    DOUBLE   interval of the value; Wilson's where each sample is 0 or 1
        value_high   DOUBLE   likewise; empty where there is none
        drop_low     DOUBLE   interval of what is lost against float, paired by sample
        drop_high    DOUBLE   likewise; empty where there is none
        method       VARCHAR  wilson-newcombe, student, bootstrap or none
        level        DOUBLE   how often such intervals hold what they are of
        worse        BIGINT   samples that score worse than in float; empty of a class
        better       BIGINT   samples that score better; likewise
    """),
)
SHARES = Table(
    "shares",
    "what share of the fully quantized model's mse belongs to a node; 1 is all of it",
    ("run_id", "position"),
    _columns("""
        run_id       VARCHAR  key of runs
        position     BIGINT   place in the run's plan of the node alone, or of the whole model
        subject      VARCHAR  the node, or calibrated_model: there alone is the sum of all nodes
        role         VARCHAR  only, or reference for the whole model
        samples      BIGINT   number of samples that it rests on
        copies       BIGINT   moved copies of each of them, the same for all nodes
        level        DOUBLE   how often such intervals hold what they are of
        alone        DOUBLE   the error of the node alone, as a share of the whole model's
        alone_low    DOUBLE   its interval
        alone_high   DOUBLE   likewise
        share        DOUBLE   the part of the whole model's error that is gone without the node
        share_low    DOUBLE   its interval
        share_high   DOUBLE   likewise
        told         BOOLEAN  whether share is told apart from 0, for all nodes together
        rounding     DOUBLE   standard deviation of share that rounding makes
        gap          DOUBLE   share - alone
        gap_low      DOUBLE   its interval
        gap_high     DOUBLE   likewise
        interacts    BOOLEAN  whether the gap is more than noise, for all nodes together
    """),
)
INTERACTIONS = Table(
    "interactions",
    "what two nodes cost together beyond what each costs alone; 1 is the whole model's mse",
    ("run_id", "node", "other"),
    _columns("""
        run_id     VARCHAR  key of runs
        node       VARCHAR  a node, the worse of the two
        other      VARCHAR  the other; the node itself for what it costs alone
        rank       BIGINT   rank of the node among the nodes that were paired, from 1
        other_rank BIGINT   rank of the other
        samples    BIGINT   number of samples that it rests on
        copies     BIGINT   moved copies of each of them, the same for all pairs
        level      DOUBLE   how often such intervals hold what they are of
        together   DOUBLE   the error of both, as a share of the whole model's
        value      DOUBLE   together, less what each costs alone; of a node itself, what it costs
        low        DOUBLE   interval of value
        high       DOUBLE   likewise
        interacts  BOOLEAN  whether value is more than noise, for all pairs together
    """),
)
TABLES = (
    RUNS,
    TAGS,
    NOTES,
    MODELS,
    NODES,
    CALIBRATION_NODES,
    SAMPLES,
    CONFIGS,
    RUN_CONFIGS,
    MEASUREMENTS,
    TENSOR_SUMMARIES,
    HISTOGRAMS,
    CHANNEL_SUMMARIES,
    LOCAL_ERRORS,
    MOVED_MEASUREMENTS,
    CONFIDENCE,
    CAUSES,
    REMEDIES,
    MENDING_STEPS,
    PLANS,
    PLAN_POINTS,
    PLAN_MOVES,
    RUN_SCORES,
    SCORES,
    SCORE_TOTALS,
    DEVICE_TENSORS,
    SHARES,
    INTERACTIONS,
)

REFERENCES = (
    (RUNS, "model_id", MODELS),
    (RUNS, "data_id", SAMPLES),
    (TAGS, "run_id", RUNS),
    (NOTES, "run_id", RUNS),
    (NODES, "model_id", MODELS),
    (CALIBRATION_NODES, "model_id", MODELS),
    (RUN_CONFIGS, "run_id", RUNS),
    (RUN_CONFIGS, "config_id", CONFIGS),
    (MEASUREMENTS, "model_id", MODELS),
    (MEASUREMENTS, "config_id", CONFIGS),
    (TENSOR_SUMMARIES, "run_id", RUNS),
    (HISTOGRAMS, "run_id", RUNS),
    (CHANNEL_SUMMARIES, "run_id", RUNS),
    (LOCAL_ERRORS, "run_id", RUNS),
    (MOVED_MEASUREMENTS, "model_id", MODELS),
    (MOVED_MEASUREMENTS, "config_id", CONFIGS),
    (CONFIDENCE, "run_id", RUNS),
    (RUN_SCORES, "run_id", RUNS),
    (SCORES, "model_id", MODELS),
    (SCORES, "config_id", CONFIGS),
    (SCORE_TOTALS, "run_id", RUNS),
    (DEVICE_TENSORS, "run_id", RUNS),
    (SHARES, "run_id", RUNS),
    (INTERACTIONS, "run_id", RUNS),
)
"""A table's column, and the table that has it in its key."""
