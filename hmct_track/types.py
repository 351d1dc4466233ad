"""The vocabulary: frozen values that every other module speaks in.

Nothing here imports NumPy or ONNX, so that the command line can name metrics without loading them.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hmct_track.metrics import Metric as Metric  # noqa: PLC0414 - part of the vocabulary

NUMERIC_VERSION = 1
"""Version of what a measurement means. Raised whenever the same configuration, sample and output
would give other statistics, so that values of different meaning never mix."""


class NodeType(enum.StrEnum):
    """What is quantized alone when sensitivities are ranked."""

    NODE = "node"
    WEIGHT = "weight"
    ACTIVATION = "activation"


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
class QuantType:
    """A numeric type that a calibration node quantizes to: ``int8``, ``uint16``, ``float16``, ...

    Integer types have 4 to 16 bits, signed or unsigned, and ``int32``.
    """

    name: str

    _INTEGER = re.compile(r"(u?)int([1-9][0-9]?)")

    def __post_init__(self) -> None:
        if self.name in ("float16", "float32"):
            return
        match = self._INTEGER.fullmatch(self.name)
        if not match or not (4 <= int(match[2]) <= 16 or self.name == "int32"):
            raise ValueError(
                f"quantization type {self.name!r} is not supported; supported: int4 to int16, "
                "uint4 to uint16, int32, float16, float32"
            )

    @property
    def is_integer(self) -> bool:
        """Whether values are rounded to integers times a scale."""
        return "int" in self.name

    @property
    def is_signed(self) -> bool:
        """Whether the type holds negative numbers."""
        return not self.name.startswith("u")

    @property
    def bits(self) -> int:
        """Width in bits."""
        return int(self.name.lstrip("uintfloa"))

    @property
    def qmin(self) -> int:
        """Smallest integer of the full range."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def qmax(self) -> int:
        """Largest integer of the full range."""
        return (1 << (self.bits - self.is_signed)) - 1

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class QuantParams:
    """How a calibration node quantizes.

    ``y = (clip(round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale``.

    ``scales`` and ``zero_points`` have one entry (per tensor) or one per channel along ``axis``.
    ``thresholds`` has as many entries (absolute maxima) or twice as many (minimum and maximum of
    each); it is empty only for float types. A scale of 0 maps every value to 0.
    """

    qtype: QuantType
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()
    axis: int = 1

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel along ``axis`` has its own scale."""
        return len(self.scales) > 1

    @property
    def max_threshold(self) -> float | None:
        """Largest threshold, as the documented table shows it."""
        return max(self.thresholds, default=None)


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


class Quantization(enum.Enum):
    """What a calibration node does, when it is not given another type."""

    OFF = "off"
    AS_CALIBRATED = "calibrated"


State = Quantization | QuantType
"""What one calibration node does in a configuration."""


@dataclass(frozen=True)
class QuantConfig:
    """For each calibration node of a model: off, on as calibrated, or on with another type.

    ``default`` holds for every calibration node that ``overrides`` does not name.
    """

    default: Quantization = Quantization.OFF
    overrides: Mapping[str, State] = field(default_factory=dict)

    @classmethod
    def only(cls, nodes: Iterable[str], state: State = Quantization.AS_CALIBRATED) -> QuantConfig:
        """The float model but for these calibration nodes."""
        return cls(Quantization.OFF, dict.fromkeys(nodes, state))

    @classmethod
    def all_but(cls, nodes: Iterable[str], state: State = Quantization.OFF) -> QuantConfig:
        """The fully quantized model but for these calibration nodes."""
        return cls(Quantization.AS_CALIBRATED, dict.fromkeys(nodes, state))

    def state(self, node: str) -> State:
        """What the calibration node ``node`` does."""
        return self.overrides.get(node, self.default)

    def canonical(self, nodes: Iterable[str]) -> QuantConfig:
        """The one way, of many, to write this configuration for a model with these nodes.

        The default is what most nodes do (off, in a draw), and no override repeats it.
        """
        every = set(nodes)
        named: dict[str, State] = {n: s for n, s in self.overrides.items() if n in every}
        counts = Counter(state for state in named.values() if isinstance(state, Quantization))
        counts[self.default] += len(every) - len(named)
        more = counts[Quantization.AS_CALIBRATED] > counts[Quantization.OFF]
        default = Quantization.AS_CALIBRATED if more else Quantization.OFF
        if default is not self.default:
            named = {**dict.fromkeys(every, self.default), **named}
        return QuantConfig(default, {n: s for n, s in sorted(named.items()) if s is not default})

    def to_json(self) -> str:
        """Compact JSON, the same for equal configurations."""
        overrides = {name: _state_name(state) for name, state in sorted(self.overrides.items())}
        return json.dumps(
            {"default": self.default.value, "overrides": overrides}, separators=(",", ":")
        )

    @property
    def config_id(self) -> str:
        """Content hash; equal for equal configurations once they are canonical."""
        return digest(self.to_json().encode())


def _state_name(state: State) -> str:
    return state.value if isinstance(state, Quantization) else state.name


@dataclass(frozen=True)
class Planned:
    """A canonical configuration to evaluate, and what it stands for in a run."""

    subject: str
    """The node, or the curve, that it is about."""
    role: str
    """What it does to the subject, such as ``only``: its quantizers are on and all others off."""
    config: QuantConfig


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


def digest(*parts: bytes | memoryview) -> str:
    """Content hash of byte strings: the first 64 bits of SHA-256 in hexadecimal."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:16]
