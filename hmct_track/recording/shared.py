"""Measurements that are written where they are made: by workers that see the lake themselves.

A marker in the lake, with a content that nobody can guess, tells a worker that the folder of this
name is the client's. It lies there while the client measures, and stays where a client dies, so
that its workers keep what they have. Rows are told apart by their keys: one that is written twice
counts once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hmct_track.engine import Record
from hmct_track.errors import HmctTrackError, LakeError
from hmct_track.lake import MEASUREMENTS, MOVED_MEASUREMENTS, Lake, Table
from hmct_track.lake.layout import part_name
from hmct_track.lake.places import lake_path, names_in, remove_quietly, written
from hmct_track.recording.rows import measurement_row

SEEN_SECONDS = 90.0
"""How long a network's file system may take to show here what was written elsewhere."""
_PAUSE = 0.2


@dataclass(frozen=True)
class Measurer:
    """What the rows of a run's measurements have in common."""

    model_id: str
    runtime: str
    run_id: str


@dataclass(frozen=True)
class SharedLake:
    """A lake for whoever sees it; an `engine.Keeper`.

    Args:
        place: the lake's path, as the client has it.
        marker: name of the marker.
        content: what is in it.
        moved: whether samples are moved ones.
        measurer: what the rows have in common.
    """

    place: str
    marker: str
    content: str
    moved: bool
    measurer: Measurer

    @classmethod
    def mark(cls, lake: Lake, measurer: Measurer, *, moved: bool) -> SharedLake | None:
        """Put a marker into a lake; None if it cannot be written, which whoever measures tells."""
        # A temporary file's name: what a client that was killed leaves goes as such files do.
        made = cls(
            str(lake.path), f".shared-{secrets.token_hex(16)}.tmp", secrets.token_hex(32), moved,
            measurer,
        )  # fmt: skip
        try:
            with written(lake.path / made.marker) as temporary:
                temporary.write_text(made.content)
        except OSError:
            return None
        return made

    @property
    def table(self) -> Table:
        """Where the rows belong."""
        return MOVED_MEASUREMENTS if self.moved else MEASUREMENTS

    def keep(self, records: Sequence[Record]) -> str | None:
        """Write records as one part, and give its name; None where that cannot be done here."""
        try:
            path = lake_path(self.place)
            if (path / self.marker).read_text() != self.content:
                return None
            part = part_name(0, [self.measurer.model_id])
            rows = [measurement_row(r, self.moved, **vars(self.measurer)) for r in records]
            Lake.open(path).append(self.table, rows, part)
        except (OSError, HmctTrackError):  # it is no such lake, or its disk is full
            return None
        return part

    def close(self) -> None:
        """Take the marker away; nothing is kept elsewhere from now on."""
        remove_quietly(lake_path(self.place) / self.marker)

    def await_parts(self, parts: Collection[str]) -> None:
        """Wait until parts that workers wrote are seen here.

        Raises:
            LakeError: some are not seen in time.
        """
        folder = lake_path(self.place) / "tables" / self.table.name
        until = time.monotonic() + SEEN_SECONDS
        while True:
            names = set(names_in(folder))
            left = [part for part in parts if f"{part}.parquet" not in names]
            # One that is not there at all has been merged into another.
            left = [part for part in left if (folder / f"{part}.parquet").exists()]
            if not left:
                return
            if time.monotonic() > until:
                raise LakeError(
                    f"the lake in {self.place!r} does not show {len(left)} parts that workers "
                    "wrote; run the same command again, which goes on from there"
                )
            time.sleep(_PAUSE)
