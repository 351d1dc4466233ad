"""Types of the rows of the shipped queries, and which reads which.

Made by ``scripts/query_rows.py`` of the headers and SQL in ``queries/``; do not edit. After a
change of a query: ``make derived``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, overload


class AlwaysSensitiveRow(TypedDict):
    """A row of always_sensitive."""

    node: str
    rankings: int
    models: int
    mean_rank: float
    worst_value: float | None
    infinite: int


class CalibrationRow(TypedDict):
    """A row of calibration."""

    node: str
    kind: str
    input: str
    consumers: list[str]
    qtype: str
    scales: int
    threshold: float | None
    smallest: float | None
    largest: float | None


class CausesRow(TypedDict):
    """A row of causes."""

    position: int
    subject: str
    op_type: str | None
    node: str
    kind: str | None
    qtype: str | None
    bits: int | None
    scales: int | None
    together: float | None
    alone: float | None
    clipping: float | None
    rounding: float | None
    own_sqnr: float | None
    clip_share: float | None
    saturation: float | None
    effective_bits: float | None
    channel_bits: float | None
    outlier_ratio: float | None
    channels: int | None
    dead_channels: int | None
    lost_channels: int | None
    imbalance: float | None
    worst_channel: int | None
    worst_share: float | None
    mean_shift: float | None


class ChannelDistributionRow(TypedDict):
    """A row of channel_distribution."""

    node: str
    axis: int
    channel: int
    count: int
    min: float
    max: float
    mean: float
    q25: float
    median: float
    q75: float
    whisker_low: float
    whisker_high: float
    outliers: int
    outlier_sample: list[float]


class ChannelImbalanceRow(TypedDict):
    """A row of channel_imbalance."""

    model_id: str
    node: str
    kind: str | None
    channels: int
    scales: int | None
    abs_max: float
    median_abs_max: float
    imbalance: float | None
    widest: int
    run_id: str


class CompareCalibrationRow(TypedDict):
    """A row of compare_calibration."""

    node: str
    node_a: str | None
    node_b: str | None
    kind: str
    changed: list[str]
    qtype_a: str | None
    qtype_b: str | None
    bits_a: int | None
    bits_b: int | None
    threshold_a: float | None
    threshold_b: float | None
    ratio: float | None
    channels_a: int | None
    channels_b: int | None
    imbalance_a: float | None
    imbalance_b: float | None


class CompareChannelsRow(TypedDict):
    """A row of compare_channels."""

    node: str
    node_a: str
    channels_a: int
    channels_b: int
    abs_max_a: float
    abs_max_b: float
    imbalance_a: float | None
    imbalance_b: float | None
    outliers_a: float
    outliers_b: float


class CompareDevicesRow(TypedDict):
    """A row of compare_devices."""

    device: str
    device_a: str | None
    device_b: str | None
    position: int
    tensor: str
    node: str | None
    is_output: bool
    status: str
    value_a: float | None
    value_b: float | None
    drop: float | None
    quantization_a: float | None
    quantization_b: float | None
    total_a: float | None
    total_b: float | None
    ratio_a: float | None
    ratio_b: float | None
    parts_a: bool | None
    parts_b: bool | None
    first_a: bool | None
    first_b: bool | None


class CompareDevicesSummaryRow(TypedDict):
    """A row of compare_devices_summary."""

    newly_parting: int
    no_longer_parting: int
    parting_a: int
    parting_b: int
    output_drop: float | None
    max_drop: float | None
    worse: int
    better: int
    same: int
    added: int
    removed: int


class CompareNodesRow(TypedDict):
    """A row of compare_nodes."""

    node: str
    node_a: str | None
    node_b: str | None
    op_type: str
    matched_by: str | None
    status: str
    rank_a: int | None
    rank_b: int | None
    value_a: float | None
    value_b: float | None
    drop: float | None
    infinite_a: int | None
    infinite_b: int | None


class CompareSettingsRow(TypedDict):
    """A row of compare_settings."""

    setting: str
    a: str | None
    b: str | None


class CompareSummaryRow(TypedDict):
    """A row of compare_summary."""

    whole_drop: float | None
    whole_a: float | None
    whole_b: float | None
    max_drop: float | None
    mean_drop: float | None
    worst_drop: float | None
    worst_a: float | None
    worst_b: float | None
    worse: int
    better: int
    same: int
    added: int
    removed: int
    renamed: int
    changed_thresholds: int
    changed_types: int
    infinite: int


class ConfigValuesRow(TypedDict):
    """A row of config_values."""

    config_id: str
    value: float | None


class DataSetsRow(TypedDict):
    """A row of data_sets."""

    data_id: str
    data: str | None
    samples: int
    runs: int
    models: int
    last_used: datetime


class DeviceTensorsRow(TypedDict):
    """A row of device_tensors."""

    device: str
    position: int
    tensor: str
    node: str | None
    is_output: bool
    samples: int
    quantization: float | None
    device_value: float | None
    total: float | None
    own: float | None
    own_steps: float | None
    hidden: int
    ratio: float | None
    parts: bool
    is_first: bool
    nonfinite: int


class DistributionRow(TypedDict):
    """A row of distribution."""

    node: str
    kind: str
    series: str
    threshold: float | None
    count: int
    min: float
    max: float
    mean: float
    std: float
    q01: float
    q25: float
    median: float
    q75: float
    q99: float
    abs_max: float
    zeros: int
    nan: int
    inf: int


class ErrorAccumulationRow(TypedDict):
    """A row of error_accumulation."""

    curve: str
    position: int
    role: str
    step: int
    node: str
    op_type: str
    value: float | None
    infinite: int
    all_zero: int


class HistogramRow(TypedDict):
    """A row of histogram."""

    node: str
    series: str
    low: float
    high: float
    count: int


class InteractionsRow(TypedDict):
    """A row of interactions."""

    node: str
    other: str
    rank: int
    other_rank: int
    samples: int
    copies: int
    level: float
    together: float
    value: float
    low: float | None
    high: float | None
    interacts: bool


class IntervalsRow(TypedDict):
    """A row of intervals."""

    position: int
    subject: str
    role: str
    value: float | None
    samples: int
    level: float
    low: float | None
    high: float | None
    method: str
    rank_low: int | None
    rank_high: int | None
    top_k: int | None
    top_k_probability: float | None
    tie_group: int | None
    noise: float | None
    told_from_zero: bool


class KnownMeasurementsRow(TypedDict):
    """A row of known_measurements."""

    config_id: str
    sample_id: str


class KnownMovedRow(TypedDict):
    """A row of known_moved."""

    config_id: str
    sample_id: str
    copy: int


class KnownScoresRow(TypedDict):
    """A row of known_scores."""

    config_id: str
    sample_id: str
    score: str


class LocalErrorsRow(TypedDict):
    """A row of local_errors."""

    rank: int
    node: str
    kind: str | None
    consumers: list[str] | None
    position: int
    qtype: str | None
    samples: int
    elements: int
    nonfinite: int
    own: float | None
    accumulated: float | None
    own_cosine_similarity: float | None
    own_sqnr: float | None
    accumulated_cosine_similarity: float | None
    accumulated_sqnr: float | None


class MendingRow(TypedDict):
    """A row of mending."""

    position: int
    name: str
    config_id: str
    chosen: float | None
    held_out: float | None
    chosen_error: float | None
    held_out_error: float | None


class MendingStepsRow(TypedDict):
    """A row of mending_steps."""

    position: int
    step: str
    nodes: int
    choosing: float
    checking: float
    compared: list[str] | None
    held_out: float | None
    held_out_low: float | None
    held_out_high: float | None


class MetricRowsRow(TypedDict):
    """A row of metric_rows."""

    model_id: str
    config_id: str
    sample_id: str
    output: str
    runtime: str
    numeric_version: int
    count: int
    nonfinite: int
    all_zero: bool
    cosine_similarity: float
    mse: float
    mre: float
    sqnr: float
    chebyshev: float


class MetricValuesRow(TypedDict):
    """A row of metric_values."""

    run_id: str
    position: int
    subject: str
    role: str
    config_id: str
    sample: int
    output: str
    metric: str
    value: float | None
    count: int
    nonfinite: int
    all_zero: bool


class MetricsRow(TypedDict):
    """A row of metrics."""

    model_id: str
    config_id: str
    sample_id: str
    output: str
    runtime: str
    numeric_version: int
    count: int
    nonfinite: int
    all_zero: bool
    cosine_similarity: float
    mse: float
    mre: float
    sqnr: float
    chebyshev: float


class ModelCalibrationRow(TypedDict):
    """A row of model_calibration."""

    run_id: str
    method: str | None
    weight_method: str | None
    activation_type: str | None


class ModelEndsRow(TypedDict):
    """A row of model_ends."""

    model_id: str
    name: str
    inputs: list[str]
    outputs: list[str]
    runtime: str | None
    package_version: str | None


class ModelNodesRow(TypedDict):
    """A row of model_nodes."""

    node: str
    type: str
    node_index: int
    op_type: str
    inputs: list[str]
    outputs: list[str]
    calibration_nodes: list[str] | None
    consumers: list[str] | None
    qtype: str | None
    bits: int | None
    axis: int | None
    scales: list[float] | None
    zero_points: list[int] | None
    thresholds: list[float] | None
    enabled: bool | None


class MovedErrorsRow(TypedDict):
    """A row of moved_errors."""

    position: int
    subject: str
    role: str
    output: str
    samples: list[int]
    copies: list[int]
    errors: list[float]


class MovedValuesRow(TypedDict):
    """A row of moved_values."""

    position: int
    subject: str
    role: str
    config_id: str
    sample: int
    sample_id: str
    copy: int
    output: str
    metric: str
    value: float | None


class NodeEvidenceRow(TypedDict):
    """A row of node_evidence."""

    evidence: str
    run_id: str
    metric: str | None
    data_num: int


class NodeHistoryRow(TypedDict):
    """A row of node_history."""

    run_id: str
    started_at: datetime
    model: str
    model_id: str
    data_id: str
    rank: int
    value: float | None
    infinite: int
    all_zero: int


class NodeHistoryOfModelRow(TypedDict):
    """A row of node_history_of_model."""

    run_id: str
    started_at: datetime
    same_model: bool
    data_num: int
    outputs: list[str]
    cosine_similarity: float | None
    mse: float | None
    mre: float | None
    sqnr: float | None
    chebyshev: float | None
    infinite: int
    all_zero: int


class NodeMatchesRow(TypedDict):
    """A row of node_matches."""

    node_a: str
    node_b: str
    what: str
    matched_by: str


class NodeSignaturesRow(TypedDict):
    """A row of node_signatures."""

    node: str
    what: str
    node_index: int
    op_type: str
    signature: str


class OpTypesRow(TypedDict):
    """A row of op_types."""

    op_type: str
    nodes: int
    models: int
    median: float
    worst: float
    worst_node: str
    infinite: int


class OrphansRow(TypedDict):
    """A row of orphans."""

    source: str
    target: str
    keys: int
    example: str


class PartialQuantizationRow(TypedDict):
    """A row of partial_quantization."""

    step: int
    node: str
    config_id: str
    single: float | None
    partial: float | None
    infinite: int
    all_zero: int


class PlanCheckRow(TypedDict):
    """A row of plan_check."""

    subject: str
    role: str
    value: float | None
    config_id: str


class PlanFrontierRow(TypedDict):
    """A row of plan_frontier."""

    config_id: str
    role: str
    moves: int
    cost: float
    share: float | None
    value: float | None
    keeps: bool
    step: int | None
    chosen: bool


class PlanNodesRow(TypedDict):
    """A row of plan_nodes."""

    slot: str
    nodes: list[str]
    calibration_nodes: list[str]
    qtype: str | None
    price: float
    without: float | None
    position: int


class PlanResultRow(TypedDict):
    """A row of plan_result."""

    target: str
    metric: str
    is_share: bool
    config_id: str
    moves: int
    slots: int
    cost: float
    cost_of_all: float
    unit: str
    samples: int
    value: float | None
    margin: float
    margin_factor: float | None
    halved: float | None
    calibrated: float | None
    freed: bool | None
    certified: bool
    stopped: bool
    held_out: int
    held_out_value: float | None
    held_out_low: float | None
    held_out_high: float | None
    kept: bool | None
    seconds: float
    configurations: int


class PlanValuesRow(TypedDict):
    """A row of plan_values."""

    config_id: str
    sample: int
    output: str
    value: float | None


class PlannedConfigsRow(TypedDict):
    """A row of planned_configs."""

    position: int
    subject: str
    role: str
    config: str


class RankedRow(TypedDict):
    """A row of ranked."""

    run_id: str
    model_id: str
    metric: str
    rank: int
    node: str
    value: float | None
    infinite: int
    all_zero: int


class RankingsRow(TypedDict):
    """A row of rankings."""

    run_id: str
    parent_run_id: str | None
    node_type: str
    model_id: str
    model: str
    data_id: str
    outputs: list[str]
    metrics: list[str]


class RemediesRow(TypedDict):
    """A row of remedies."""

    position: int
    subject: str
    rank: int
    remedy: str
    family: str
    price: str
    nodes: list[str]
    before: float | None
    after: float | None
    gain: float
    before_error: float | None
    after_error: float | None
    config_id: str


class ResultsRow(TypedDict):
    """A row of results."""

    run_id: str
    position: int
    subject: str
    role: str
    config_id: str
    sample: int
    output: str
    count: int
    nonfinite: int
    all_zero: bool
    cosine_similarity: float
    mse: float
    mre: float
    sqnr: float
    chebyshev: float


class RunCostsRow(TypedDict):
    """A row of run_costs."""

    run_id: str
    kind: str
    model: str
    state: str
    seconds: float | None
    compared: int
    measured: int
    seconds_per_measurement: float | None


class RunListRow(TypedDict):
    """A row of run_list."""

    run_id: str
    parent_run_id: str | None
    kind: str
    state: str
    started_at: datetime
    seconds: float | None
    model_id: str
    model_path: str | None
    model: str
    data_path: str | None
    data_num: int
    metrics: list[str]
    parameters: str
    error: str | None
    worst_node: str | None
    worst_value: float | None
    whole_value: float | None
    mlflow_run_id: str | None
    updated_at: datetime
    note: str | None


class RunningRow(TypedDict):
    """A row of running."""

    run_id: str
    host: str | None
    pid: int | None
    started_at: datetime


class RunsRow(TypedDict):
    """A row of runs."""

    run_id: str
    kind: str
    state: str
    started_at: datetime
    seconds: float | None
    model: str
    model_path: str | None
    data_num: int
    metrics: list[str]
    configs: int
    error: str | None
    model_id: str
    data: str | None
    data_id: str
    worst_node: str | None
    worst_value: float | None
    whole_value: float | None
    tags: list[str]
    parent_run_id: str | None
    mlflow_run_id: str | None
    mlflow_uri: str | None
    note: str | None


class SampleValuesRow(TypedDict):
    """A row of sample_values."""

    position: int
    subject: str
    role: str
    output: str
    metric: str
    samples: list[int]
    values: list[float]


class ScoreFlipsRow(TypedDict):
    """A row of score_flips."""

    sample: int
    source: str
    place: int
    score: str
    value: float | None
    float_value: float | None
    lost: float | None
    changed: bool | None
    nodes: list[str] | None


class ScoreResultsRow(TypedDict):
    """A row of score_results."""

    position: int
    subject: str
    role: str
    config_id: str
    place: int
    score: str
    higher_is_better: bool
    samples: int
    value: float
    float_value: float
    lost: float
    value_low: float | None
    value_high: float | None
    lost_low: float | None
    lost_high: float | None
    method: str
    level: float
    worse: int | None
    better: int | None


class ScoreValuesRow(TypedDict):
    """A row of score_values."""

    position: int
    subject: str
    role: str
    config_id: str
    place: int
    score: str
    score_id: str
    sample: int
    source: str
    value: float | None
    float_value: float | None
    part: str | None
    float_part: str | None


class SensitiveSamplesRow(TypedDict):
    """A row of sensitive_samples."""

    rank: int
    sample: int
    source: str
    value: float | None
    infinite: int
    all_zero: int


class SensitivityRow(TypedDict):
    """A row of sensitivity."""

    rank: int
    subject: str
    position: int
    op_type: str
    consumers: list[str] | None
    threshold: float | None
    bits: int | None
    nonfinite: int
    elements: int
    cosine_similarity: float | None
    mse: float | None
    mre: float | None
    sqnr: float | None
    chebyshev: float | None
    value: float | None
    infinite: int
    all_zero: int


class ShareSumRow(TypedDict):
    """A row of share_sum."""

    nodes: int
    sum: float
    sum_low: float | None
    sum_high: float | None
    least: float
    most: float
    agrees: bool


class SharesRow(TypedDict):
    """A row of shares."""

    rank: int
    position: int
    subject: str
    samples: int
    copies: int
    level: float
    share: float
    share_low: float | None
    share_high: float | None
    told: bool
    alone: float
    alone_low: float | None
    alone_high: float | None
    gap: float
    rounding: float | None
    interacts: bool


class SubjectValuesRow(TypedDict):
    """A row of subject_values."""

    run_id: str
    position: int
    subject: str
    role: str
    config_id: str
    metric: str
    value: float | None
    infinite: int
    all_zero: int
    nonfinite: int
    elements: int


class ThresholdsRow(TypedDict):
    """A row of thresholds."""

    model_id: str
    node: str
    kind: str
    verdict: str
    threshold: float
    abs_max: float
    used: float | None
    bits_wasted: float | None
    run_id: str


class UnmeasuredRow(TypedDict):
    """A row of unmeasured."""

    position: int
    subject: str
    local_error: float | None


class UsedMeasurementsRow(TypedDict):
    """A row of used_measurements."""

    run_id: str
    model_id: str
    config_id: str
    sample_id: str


class WholeModelRow(TypedDict):
    """A row of whole_model."""

    metric: str
    value: float | None
    infinite: int
    all_zero: int
    elements: int


class WorstNodesRow(TypedDict):
    """A row of worst_nodes."""

    run_id: str
    rank: int
    node: str
    value: float | None
    infinite: int
    all_zero: int


READS: Mapping[str, tuple[str, ...]] = {
    "always_sensitive": ("ranked",),
    "calibration": ("calibration_nodes", "runs"),
    "causes": ("calibration_nodes", "causes", "metric_values", "nodes", "run_configs", "runs"),
    "channel_distribution": ("channel_summaries",),
    "channel_imbalance": ("calibration_nodes", "channel_summaries", "runs"),
    "compare_calibration": ("calibration_nodes", "node_matches", "runs"),
    "compare_channels": ("channel_summaries", "node_matches", "runs"),
    "compare_devices": ("device_tensors",),
    "compare_devices_summary": ("compare_devices",),
    "compare_nodes": ("node_matches", "sensitivity"),
    "compare_settings": ("models", "runs"),
    "compare_summary": ("compare_calibration", "compare_nodes", "subject_values"),
    "config_values": ("metric_values", "runs"),
    "data_sets": ("runs",),
    "device_tensors": ("device_tensors_rows",),
    "distribution": ("tensor_summaries",),
    "error_accumulation": ("metric_values", "nodes", "runs"),
    "histogram": ("histograms",),
    "interactions": ("interactions",),
    "intervals": ("confidence", "subject_values"),
    "known_measurements": ("measurements", "run_configs", "runs", "samples"),
    "known_moved": ("moved_measurements", "run_configs", "runs", "samples"),
    "known_scores": ("run_configs", "run_scores", "runs", "scores"),
    "local_errors": ("calibration_nodes", "local_errors", "runs"),
    "mending": ("measurements", "metric_values", "run_configs", "runs", "samples"),
    "mending_steps": ("mending_steps",),
    "metric_rows": ("measurement_rows",),
    "metric_values": ("results",),
    "metrics": ("metric_rows",),
    "model_calibration": ("runs",),
    "model_ends": ("models", "runs"),
    "model_nodes": ("calibration_nodes", "nodes", "runs"),
    "moved_errors": ("moved_measurements", "run_configs", "runs", "samples"),
    "moved_values": ("moved_measurements", "run_configs", "runs", "samples"),
    "node_evidence": ("channel_summaries", "run_configs", "runs", "tensor_summaries"),
    "node_history": ("models", "ranked", "runs"),
    "node_history_of_model": ("runs", "subject_values"),
    "node_matches": ("node_signatures",),
    "node_signatures": ("calibration_nodes", "nodes", "runs"),
    "op_types": ("nodes", "ranked", "runs"),
    "orphans": (
        "causes",
        "channel_summaries",
        "confidence",
        "configs",
        "histograms",
        "local_errors",
        "measurements",
        "mending_steps",
        "models",
        "moved_measurements",
        "nodes",
        "notes",
        "remedies",
        "run_configs",
        "runs",
        "samples",
        "tags",
        "tensor_summaries",
    ),
    "partial_quantization": ("subject_values",),
    "plan_check": ("subject_values",),
    "plan_frontier": ("plan_points", "plans"),
    "plan_nodes": ("plan_moves",),
    "plan_result": ("plan_points", "plans"),
    "plan_values": ("metric_values",),
    "planned_configs": ("configs", "run_configs"),
    "ranked": ("runs", "subject_values"),
    "rankings": ("models", "runs"),
    "remedies": ("measurements", "metric_values", "remedies", "runs", "samples"),
    "results": ("metric_rows", "run_configs", "runs", "samples"),
    "run_costs": ("measurements", "models", "results", "runs"),
    "run_list": ("models", "notes", "runs"),
    "running": ("runs",),
    "runs": ("models", "notes", "run_configs", "runs", "tags"),
    "sample_values": ("metric_values",),
    "score_flips": ("run_scores", "score_values"),
    "score_results": ("run_configs", "run_scores", "score_totals"),
    "score_values": ("run_configs", "run_scores", "runs", "samples", "scores"),
    "sensitive_samples": ("metric_values", "runs", "samples"),
    "sensitivity": ("calibration_nodes", "nodes", "runs", "subject_values"),
    "share_sum": ("shares",),
    "shares": ("shares",),
    "subject_values": ("metric_values",),
    "thresholds": ("calibration_nodes", "channel_summaries", "runs", "tensor_summaries"),
    "unmeasured": ("local_errors", "nodes", "results", "run_configs", "runs"),
    "used_measurements": ("run_configs", "runs", "samples"),
    "whole_model": ("subject_values",),
    "worst_nodes": ("ranked", "runs"),
}
"""Query to the tables, their views of rows, and the queries that it reads."""


class TypedQueries:
    """Asks the shipped queries."""

    @overload
    def query(
        self,
        name: Literal["always_sensitive"],
        /,
        *,
        metric: str | None = ...,
        top: int | None = ...,
    ) -> list[AlwaysSensitiveRow]: ...

    @overload
    def query(self, name: Literal["calibration"], /, *, run_id: str) -> list[CalibrationRow]: ...

    @overload
    def query(
        self, name: Literal["causes"], /, *, run_id: str, metric: str | None = ...
    ) -> list[CausesRow]: ...

    @overload
    def query(
        self, name: Literal["channel_distribution"], /, *, run_id: str
    ) -> list[ChannelDistributionRow]: ...

    @overload
    def query(
        self, name: Literal["channel_imbalance"], /, *, model_id: str | None = ...
    ) -> list[ChannelImbalanceRow]: ...

    @overload
    def query(
        self,
        name: Literal["compare_calibration"],
        /,
        *,
        run_a: str,
        run_b: str,
        same: bool | None = ...,
    ) -> list[CompareCalibrationRow]: ...

    @overload
    def query(
        self, name: Literal["compare_channels"], /, *, run_a: str, run_b: str
    ) -> list[CompareChannelsRow]: ...

    @overload
    def query(
        self,
        name: Literal["compare_devices"],
        /,
        *,
        run_a: str,
        run_b: str,
        metric: str | None = ...,
        tolerance: float | None = ...,
    ) -> list[CompareDevicesRow]: ...

    @overload
    def query(
        self,
        name: Literal["compare_devices_summary"],
        /,
        *,
        run_a: str,
        run_b: str,
        metric: str | None = ...,
        tolerance: float | None = ...,
    ) -> list[CompareDevicesSummaryRow]: ...

    @overload
    def query(
        self,
        name: Literal["compare_nodes"],
        /,
        *,
        run_a: str,
        run_b: str,
        metric: str | None = ...,
        tolerance: float | None = ...,
    ) -> list[CompareNodesRow]: ...

    @overload
    def query(
        self, name: Literal["compare_settings"], /, *, run_a: str, run_b: str
    ) -> list[CompareSettingsRow]: ...

    @overload
    def query(
        self,
        name: Literal["compare_summary"],
        /,
        *,
        run_a: str,
        run_b: str,
        metric: str | None = ...,
        tolerance: float | None = ...,
    ) -> list[CompareSummaryRow]: ...

    @overload
    def query(
        self, name: Literal["config_values"], /, *, run_id: str, metric: str | None = ...
    ) -> list[ConfigValuesRow]: ...

    @overload
    def query(self, name: Literal["data_sets"], /) -> list[DataSetsRow]: ...

    @overload
    def query(
        self, name: Literal["device_tensors"], /, *, run_id: str, metric: str | None = ...
    ) -> list[DeviceTensorsRow]: ...

    @overload
    def query(self, name: Literal["distribution"], /, *, run_id: str) -> list[DistributionRow]: ...

    @overload
    def query(
        self,
        name: Literal["error_accumulation"],
        /,
        *,
        run_id: str,
        metric: str | None = ...,
        average_mode: bool | None = ...,
    ) -> list[ErrorAccumulationRow]: ...

    @overload
    def query(self, name: Literal["histogram"], /, *, run_id: str) -> list[HistogramRow]: ...

    @overload
    def query(self, name: Literal["interactions"], /, *, run_id: str) -> list[InteractionsRow]: ...

    @overload
    def query(
        self, name: Literal["intervals"], /, *, run_id: str, metric: str | None = ...
    ) -> list[IntervalsRow]: ...

    @overload
    def query(
        self, name: Literal["known_measurements"], /, *, run_id: str
    ) -> list[KnownMeasurementsRow]: ...

    @overload
    def query(self, name: Literal["known_moved"], /, *, run_id: str) -> list[KnownMovedRow]: ...

    @overload
    def query(self, name: Literal["known_scores"], /, *, run_id: str) -> list[KnownScoresRow]: ...

    @overload
    def query(
        self,
        name: Literal["local_errors"],
        /,
        *,
        run_id: str,
        metric: str | None = ...,
        by: str | None = ...,
    ) -> list[LocalErrorsRow]: ...

    @overload
    def query(
        self, name: Literal["mending"], /, *, run_id: str, metric: str | None = ...
    ) -> list[MendingRow]: ...

    @overload
    def query(self, name: Literal["mending_steps"], /, *, run_id: str) -> list[MendingStepsRow]: ...

    @overload
    def query(self, name: Literal["metric_rows"], /) -> list[MetricRowsRow]: ...

    @overload
    def query(self, name: Literal["metric_values"], /) -> list[MetricValuesRow]: ...

    @overload
    def query(self, name: Literal["metrics"], /) -> list[MetricsRow]: ...

    @overload
    def query(
        self, name: Literal["model_calibration"], /, *, made: str
    ) -> list[ModelCalibrationRow]: ...

    @overload
    def query(self, name: Literal["model_ends"], /, *, run_id: str) -> list[ModelEndsRow]: ...

    @overload
    def query(self, name: Literal["model_nodes"], /, *, run_id: str) -> list[ModelNodesRow]: ...

    @overload
    def query(self, name: Literal["moved_errors"], /, *, run_id: str) -> list[MovedErrorsRow]: ...

    @overload
    def query(self, name: Literal["moved_values"], /, *, run_id: str) -> list[MovedValuesRow]: ...

    @overload
    def query(
        self, name: Literal["node_evidence"], /, *, run_id: str, node: str
    ) -> list[NodeEvidenceRow]: ...

    @overload
    def query(
        self, name: Literal["node_history"], /, *, node: str, metric: str | None = ...
    ) -> list[NodeHistoryRow]: ...

    @overload
    def query(
        self, name: Literal["node_history_of_model"], /, *, run_id: str, node: str
    ) -> list[NodeHistoryOfModelRow]: ...

    @overload
    def query(
        self, name: Literal["node_matches"], /, *, run_a: str, run_b: str
    ) -> list[NodeMatchesRow]: ...

    @overload
    def query(
        self, name: Literal["node_signatures"], /, *, run_id: str
    ) -> list[NodeSignaturesRow]: ...

    @overload
    def query(
        self, name: Literal["op_types"], /, *, metric: str | None = ...
    ) -> list[OpTypesRow]: ...

    @overload
    def query(self, name: Literal["orphans"], /) -> list[OrphansRow]: ...

    @overload
    def query(
        self, name: Literal["partial_quantization"], /, *, run_id: str, metric: str | None = ...
    ) -> list[PartialQuantizationRow]: ...

    @overload
    def query(
        self, name: Literal["plan_check"], /, *, run_id: str, metric: str | None = ...
    ) -> list[PlanCheckRow]: ...

    @overload
    def query(self, name: Literal["plan_frontier"], /, *, run_id: str) -> list[PlanFrontierRow]: ...

    @overload
    def query(self, name: Literal["plan_nodes"], /, *, run_id: str) -> list[PlanNodesRow]: ...

    @overload
    def query(self, name: Literal["plan_result"], /, *, run_id: str) -> list[PlanResultRow]: ...

    @overload
    def query(
        self, name: Literal["plan_values"], /, *, run_id: str, after: int, metric: str | None = ...
    ) -> list[PlanValuesRow]: ...

    @overload
    def query(
        self, name: Literal["planned_configs"], /, *, run_id: str
    ) -> list[PlannedConfigsRow]: ...

    @overload
    def query(self, name: Literal["ranked"], /) -> list[RankedRow]: ...

    @overload
    def query(
        self,
        name: Literal["rankings"],
        /,
        *,
        node_type: str | None = ...,
        model_id: str | None = ...,
        family: str | None = ...,
        most: int | None = ...,
    ) -> list[RankingsRow]: ...

    @overload
    def query(
        self, name: Literal["remedies"], /, *, run_id: str, metric: str | None = ...
    ) -> list[RemediesRow]: ...

    @overload
    def query(self, name: Literal["results"], /) -> list[ResultsRow]: ...

    @overload
    def query(self, name: Literal["run_costs"], /) -> list[RunCostsRow]: ...

    @overload
    def query(
        self, name: Literal["run_list"], /, *, family: str | None = ...
    ) -> list[RunListRow]: ...

    @overload
    def query(self, name: Literal["running"], /) -> list[RunningRow]: ...

    @overload
    def query(
        self,
        name: Literal["runs"],
        /,
        *,
        run: str | None = ...,
        kind: str | None = ...,
        state: str | None = ...,
        model: str | None = ...,
        data: str | None = ...,
        since: datetime | None = ...,
        steps: bool | None = ...,
        model_id: str | None = ...,
        family: str | None = ...,
        most: int | None = ...,
    ) -> list[RunsRow]: ...

    @overload
    def query(self, name: Literal["sample_values"], /, *, run_id: str) -> list[SampleValuesRow]: ...

    @overload
    def query(self, name: Literal["score_flips"], /, *, run_id: str) -> list[ScoreFlipsRow]: ...

    @overload
    def query(self, name: Literal["score_results"], /, *, run_id: str) -> list[ScoreResultsRow]: ...

    @overload
    def query(self, name: Literal["score_values"], /, *, run_id: str) -> list[ScoreValuesRow]: ...

    @overload
    def query(
        self, name: Literal["sensitive_samples"], /, *, run_id: str, metric: str | None = ...
    ) -> list[SensitiveSamplesRow]: ...

    @overload
    def query(
        self, name: Literal["sensitivity"], /, *, run_id: str, metric: str | None = ...
    ) -> list[SensitivityRow]: ...

    @overload
    def query(self, name: Literal["share_sum"], /, *, run_id: str) -> list[ShareSumRow]: ...

    @overload
    def query(self, name: Literal["shares"], /, *, run_id: str) -> list[SharesRow]: ...

    @overload
    def query(self, name: Literal["subject_values"], /) -> list[SubjectValuesRow]: ...

    @overload
    def query(
        self, name: Literal["thresholds"], /, *, model_id: str | None = ...
    ) -> list[ThresholdsRow]: ...

    @overload
    def query(self, name: Literal["unmeasured"], /, *, run_id: str) -> list[UnmeasuredRow]: ...

    @overload
    def query(self, name: Literal["used_measurements"], /) -> list[UsedMeasurementsRow]: ...

    @overload
    def query(self, name: Literal["whole_model"], /, *, run_id: str) -> list[WholeModelRow]: ...

    @overload
    def query(
        self, name: Literal["worst_nodes"], /, *, metric: str | None = ..., most: int | None = ...
    ) -> list[WorstNodesRow]: ...

    @overload
    def query(self, name: str, /, **params: Any) -> list[Any]: ...

    def query(self, name: str, /, **params: Any) -> list[Any]:
        """Rows of the shipped query ``name``, as dictionaries.

        Raises:
            QueryError: parameters are missing or unknown, or the query failed.
        """
        return self._rows(name, params)

    def _rows(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        raise NotImplementedError
