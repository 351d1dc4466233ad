"""What comparisons of two runs of any kind have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hmct_track.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from hmct_track.lake import Row

_C = TypeVar("_C")


@dataclass(frozen=True, eq=False)
class Compared(Generic[_C]):
    """Two runs compared, and whether the gate's conditions hold."""

    comparison: _C
    """The rows of the queries ``compare_*``."""
    figure: Callable[[], Figure] = field(repr=False)
    """Draws the changes, once."""
    failed: tuple[str, ...] = ()
    """The conditions of ``fail_if`` that hold."""
    notes: tuple[str, ...] = ()
    """What makes the values less comparable than they seem."""
    files: tuple[Path, ...] = ()
    """What was written to ``save_dir``."""

    @property
    def rows(self) -> Sequence[Any]:
        """What was compared, a row each."""
        raise NotImplementedError

    @property
    def table(self) -> str:
        """All of it as text."""
        raise NotImplementedError

    @property
    def markdown(self) -> str:
        """A short summary for a pull request."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _repr_png_(self) -> bytes:
        """A notebook shows the figure."""
        from hmct_track.report.style import png

        return png(self.figure())


def check_gate(before: Row, after: Row, names: Sequence[str]) -> None:
    """A gate passes only where it has decided something.

    Args:
        before: the first run.
        after: the second one.
        names: what both have to have in common: columns of runs.

    Raises:
        UsageError: the runs are one, or were not measured alike.
    """
    if before["run_id"] == after["run_id"]:
        raise UsageError(
            f"both references mean run {before['run_id']}, so --fail-if decides nothing; give two "
            "runs, such as baseline latest"
        )
    for name in names:
        if before[name] != after[name]:
            what = _WHAT[name]
            raise UsageError(
                f"runs {before['run_id']} and {after['run_id']} used other {what}, so --fail-if "
                f"decides nothing; run both on the same {what}"
            )


def measured_otherwise(before: Row, after: Row, names: Sequence[str]) -> tuple[str, ...]:
    """What makes values of two runs less comparable than they seem, as notes."""
    return tuple(_NOTES[name] for name in names if before[name] != after[name])


_WHAT = {"data_id": "samples", "outputs": "outputs"}
_NOTES = {
    "data_id": "the runs used other samples, so part of the change may be the data's",
    "outputs": "the runs compared other outputs, so the values are of other tensors",
}
