"""What MLflow is told of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hmct_track.lake import Lake
from hmct_track.public import public_uri
from hmct_track.recording.outbox import Entry
from hmct_track.tracking import NestedRun, RunInput, TrackedRun


@dataclass(frozen=True)
class Content:
    """What an analysis tells MLflow of its run."""

    name: str
    summary: Mapping[str, float] = field(default_factory=dict)
    """Metric name to value."""
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    nested: Sequence[NestedRun] = ()
    note: str = ""

    @classmethod
    def none(cls, kind: str) -> Content:
        """Of a run that has no answer."""
        return cls(f"{kind} (no result)")


_TAGS = (
    *("run_id", "kind", "worst_node"),
    *("model_id", "model_path", "data_id", "data_path", "runtime"),
)


def draft(
    row: Mapping[str, Any],
    entry: Entry,
    content: Content,
    lake: Path,
    *,
    calibration: str | None = None,
) -> TrackedRun:
    """The content of a run that has ended, with what every run has.

    Args:
        row: the run in the lake.
        entry: what the lake does not know of it.
        content: what its analysis tells.
        lake: the folder of the lake.
        calibration: how the model was calibrated, where the lake knows.
    """
    return TrackedRun(
        name=content.name,
        experiment=entry.experiment,
        state=row["state"],
        started_ms=_milliseconds(row["started_at"]),
        # The end of one whose process was killed is when that was noticed.
        ended_ms=_milliseconds(row["ended_at"] or row["updated_at"]),
        params={
            "model": entry.label,
            **({"calibration_method": calibration} if calibration else {}),
            **json.loads(row["parameters"]),
            "data_num": row["data_num"],
        },
        # Of parameters the web UI's charts take the first that differ: ids would push others out.
        tags={
            **{f"hmct_track.{key}": row[key] for key in _TAGS if row[key]},
            "hmct_track.lake": public_uri(str(lake)),
            "hmct_track.version": row["package_version"],
        },
        summary=content.summary,
        curves=content.curves,
        texts=content.texts,
        images=content.images,
        nested=content.nested,
        inputs=_inputs(row, entry),
        note=content.note,
        system=entry.system,
    )


def calibration_of(lake: Lake, model_id: str) -> str | None:
    """How a model was calibrated, where the lake knows."""
    made = lake.query("model_calibration", made=model_id)
    return made[0]["method"] if made else None


def _inputs(row: Mapping[str, Any], entry: Entry) -> list[RunInput]:
    """Model and samples by content, as MLflow lists them."""
    data = Path(row["data_path"]).name if row["data_path"] else "arrays"
    return [
        RunInput(entry.label, row["model_id"], row["model_path"] or "", "model", entry.nodes),
        RunInput(
            data,
            row["data_id"],
            row["data_path"] or "",
            "calibration data",
            {"samples": row["data_num"]},
        ),
    ]


def _milliseconds(when: datetime) -> int:
    return int(when.replace(tzinfo=UTC).timestamp() * 1000)
