"""The judge that scores a sample's outputs, quantized and float, in one execution."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hmct_track.errors import UsageError
from hmct_track.scoring.labels import label_hash, read_labels
from hmct_track.types import digest

Tensors = Mapping[str, NDArray[Any]]
Part = Any
"""What a class keeps of one sample: what JSON can hold."""

_MOST_PART = 2**20


@dataclass(frozen=True)
class Scored:
    """What a score made of one sample of one configuration."""

    value: float | None
    """Of the quantized outputs; None of a class, which gives a number only of all samples."""
    float_value: float | None
    part: str | None
    """What a class keeps of the sample, as JSON; None of a function."""
    float_part: str | None
    problem: str | None = None
    """Why there is nothing else, if there is not."""


@dataclass(frozen=True)
class Scorer:
    """A score: a function of one sample, or an object with the methods sample and total."""

    name: str
    source: str
    """As the user wrote it."""
    content: str
    """Hash of what it computes."""
    sample: Any
    """Gives a number, or the part that `total` adds up."""
    total: Any = None
    """List of parts to a number; None of a function, whose total is the mean."""
    higher_is_better: bool = True
    takes_label: bool = True
    takes_float: bool = False

    def total_of(self, parts: Sequence[str | None]) -> float:
        """The number for all samples.

        Args:
            parts: what it kept of each sample.

        Raises:
            UsageError: the score fails, or gives no finite number.
        """
        try:
            value = float(self.total([json.loads(part or "null") for part in parts]))
        except Exception as error:  # whatever the user's own code raises
            raise UsageError(
                f"total of the score {self.name!r} failed with {type(error).__name__}: {error}"
            ) from error
        if not math.isfinite(value):
            raise UsageError(
                f"total of the score {self.name!r} gave {value}; a number was expected"
            )
        return value

    def badness(self, value: float | None) -> float:
        """How bad a value is: larger is worse; infinity where there is none."""
        if value is None:
            return math.inf
        return -value if self.higher_is_better else value


class ScoreJudge:
    """Scores both the float and the quantized outputs of each sample.

    It is a `SampleJudge`. The user's code is called by one thread at a time. It never raises what
    that code raises: the reason is in the record, so that what others measured is not lost.

    Args:
        scorer: the score.
        labels: sample id to label, as the score gets it.
        ids: sample id to the key of its records: hash of score, label and outputs.
    """

    def __init__(self, scorer: Scorer, labels: Mapping[str, Any], ids: Mapping[str, str]) -> None:
        self.scorer = scorer
        self.ids = ids
        self._labels = labels
        self._lock = threading.Lock()
        self._float: dict[str, Any] = {}

    @property
    def identity(self) -> str:
        """What its records are known by among the judges of one execution."""
        return f"score {self.scorer.name}"

    def judge_sample(self, sample_id: str, x: Tensors, y: Tensors, /) -> Scored:
        """The score of both; see `SampleJudge`."""
        with self._lock:
            what = "on the float outputs: "
            try:
                if sample_id not in self._float:
                    self._float[sample_id] = self._score(sample_id, x, x)
                before, what = self._float[sample_id], ""
                after = before if y is x else self._score(sample_id, y, x)
            except UsageError as error:
                return Scored(None, None, None, None, f"{what}{error}")
            except Exception as error:  # noqa: BLE001 - whatever the user's own code raises
                return Scored(None, None, None, None, f"{what}{type(error).__name__}: {error}")
        if self.scorer.total is None:
            return Scored(after, before, None, None)
        return Scored(None, None, after, before)

    def _score(self, sample_id: str, y: Tensors, x: Tensors) -> Any:
        """A number of a function, JSON of a class."""
        scorer = self.scorer
        given: list[Any] = [dict(y)]
        if scorer.takes_label:
            given.append(self._labels[sample_id])
        named = {"float_outputs": dict(x)} if scorer.takes_float else {}
        found = scorer.sample(*given, **named)
        if scorer.total is None:
            value = float(found)
            if not math.isfinite(value):
                raise UsageError(f"it gave {value}; a number was expected")
            return value
        text = json.dumps(found, default=_plain)
        if len(text) > _MOST_PART:
            raise UsageError(
                f"what it keeps of the sample takes {len(text)} characters; keep at most "
                f"{_MOST_PART}, such as the best boxes only"
            )
        return text


def score_judges(
    scorers: Sequence[Scorer],
    labels: Any,
    places: Sequence[str],
    sample_ids: Sequence[str],
    outputs: Sequence[str],
) -> tuple[ScoreJudge, ...]:
    """Judges of scores, with the label of each sample.

    Args:
        scorers: the scores.
        labels: as `hmct_track.scoring.labels.read_labels` takes them; None for none.
        places: where each sample came from.
        sample_ids: the samples, by content, in the same order.
        outputs: what is compared, in canonical text.

    Raises:
        UsageError: a score needs labels and there are none, or equal samples have different ones.
    """
    needing = [scorer.name for scorer in scorers if scorer.takes_label]
    if needing and labels is None:
        raise UsageError(
            f"the score {needing[0]!r} needs labels; give a folder, CSV or .npz with --labels "
            "(same-top1 needs none)"
        )
    known: dict[str, Any] = {}
    hashes = dict.fromkeys(sample_ids, "")
    if needing:
        for sample_id, place, label in zip(
            sample_ids, places, read_labels(labels, places), strict=True
        ):
            own = label_hash(label)
            if hashes[sample_id] not in ("", own):
                raise UsageError(
                    f"the sample {place} has the content of another one with another label"
                )
            known[sample_id], hashes[sample_id] = label, own
    return tuple(
        ScoreJudge(
            scorer,
            known,
            {
                i: digest(
                    scorer.content.encode(),
                    hashes[i].encode() if scorer.takes_label else b"",
                    "\0".join(outputs).encode(),
                )
                for i in hashes
            },
        )
        for scorer in scorers
    )


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise UsageError(
        f"sample gave a {type(value).__name__}; numbers, texts, lists and dicts were expected"
    )
