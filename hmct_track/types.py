"""The vocabulary: frozen values that every other module speaks in.

Nothing here imports NumPy or ONNX, so that the command line can name metrics without loading them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from hmct_track.configuration import BiasShift, QuantConfig, digest
from hmct_track.outputs import Output, Span
from hmct_track.quantization import Effect, Quantization, QuantParams, QuantType, State

__all__ = [
    "NUMERIC_VERSION",
    "BiasShift",
    "CalibrationKind",
    "CalibrationNode",
    "ChannelSummary",
    "Effect",
    "GeneralNode",
    "Measurement",
    "Metric",
    "NodeType",
    "Output",
    "PairStatistics",
    "Planned",
    "QuantConfig",
    "QuantParams",
    "QuantType",
    "Quantization",
    "RunState",
    "Span",
    "State",
    "TensorSpec",
    "TensorSummary",
    "digest",
]

from hmct_track.metrics import Metric as Metric  # noqa: PLC0414 - part of the vocabulary

NUMERIC_VERSION = 2
"""Version of what a measurement means. Raised whenever the same configuration, sample and output
would give other statistics, so that values of different meaning never mix."""


class NodeType(enum.StrEnum):
    """What is quantized alone when sensitivities are ranked."""

    NODE = "node"
    WEIGHT = "weight"
    ACTIVATION = "activation"
    OUTPUT = "output"
    """What a node gives out, by the calibration nodes that read it."""


class CalibrationKind(enum.StrEnum):
    """What a calibration node quantizes: a constant or data that flows through the model."""

    WEIGHT = "weight"
    ACTIVATION = "activation"


class RunState(enum.StrEnum):
    """State of a run, in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class GeneralNode:
    """A node that computes: Conv, Add, ... ``index`` counts general nodes in topological order."""

    name: str
    index: int
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    calibration_nodes: tuple[str, ...]
    """The calibration nodes among its direct inputs."""


@dataclass(frozen=True)
class CalibrationNode:
    """A node that quantizes and dequantizes one tensor."""

    name: str
    index: int
    kind: CalibrationKind
    input: str
    output: str
    consumers: tuple[str, ...]
    """The general nodes that read its output."""
    params: QuantParams
    enabled: bool = True
    """False for ``switch`` OFF: as calibrated, the node passes its input through."""
    fixed: bool = False
    """Whether the float values of its weight are lost: its input is quantized, on or off."""
    stored: str | None = None
    """The constant with the values that it gives out as calibrated, where rounding to nearest does
    not give them."""
    goes_with: str | None = None
    """The calibration node with which it is switched: that of the weight for whose rounding the
    quantizer changed this constant, a bias."""

    @property
    def is_correction(self) -> bool:
        """Whether it only chooses between the float model's values and the quantizer's."""
        return self.stored is not None and self.params.qtype.name == "float32"


@dataclass(frozen=True)
class TensorSpec:
    """Name, NumPy dtype name and shape of a model input or output.

    A dimension is an integer, or None where it is dynamic; the shape is None where it is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[?]"
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True, init=False)
class Planned:
    """A canonical configuration to evaluate, and what it stands for in a run."""

    subjects: tuple[str, ...]
    """The nodes, or the curve, that it is about."""
    role: str
    """What it does to the subjects, such as ``only``: their quantizers are on, all others off."""
    config: QuantConfig

    def __init__(self, subjects: str | Iterable[str], role: str, config: QuantConfig) -> None:
        # One name may be given as it is; a string is also an iterable of its letters.
        names = (subjects,) if isinstance(subjects, str) else tuple(subjects)
        for field, value in (("subjects", names), ("role", role), ("config", config)):
            object.__setattr__(self, field, value)

    @property
    def subject(self) -> str:
        """The subjects in one string to read, joined by ``;``."""
        return ";".join(self.subjects)


@dataclass(frozen=True)
class PairStatistics:
    """Sums over a pair of tensors (x float, y quantized) from which every metric follows.

    Accumulated in float64 over all elements; where values are not finite the sums are not either,
    and the counts tell why.
    """

    count: int
    sum_xx: float
    sum_yy: float
    sum_xy: float
    sum_dd: float
    """Sum of (x - y)^2."""
    sum_abs_d: float
    """Sum of |x - y|."""
    sum_abs_x: float
    max_abs_d: float
    nonfinite_x: int
    nonfinite_y: int


@dataclass(frozen=True)
class Measurement:
    """How one output differs from the float one, for one configuration and sample."""

    config_id: str
    sample_id: str
    output: str
    statistics: PairStatistics


@dataclass(frozen=True)
class TensorSummary:
    """Statistics of the values of a tensor; NaN and Inf are counted and left out of the rest."""

    count: int
    min: float
    max: float
    mean: float
    std: float
    """Population standard deviation."""
    q01: float
    q25: float
    median: float
    q75: float
    q99: float
    abs_max: float
    zeros: int
    nan: int
    inf: int


@dataclass(frozen=True)
class ChannelSummary:
    """Box statistics of one channel: whiskers reach the last values within 1.5 times the IQR."""

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
    outlier_sample: tuple[float, ...]
    """At most so many outliers as can be drawn; the extremes are always among them."""
