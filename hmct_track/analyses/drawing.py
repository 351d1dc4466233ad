"""Drawing the figures of runs that are in a lake, as files.

``python -m hmct_track.analyses.drawing LAKE`` reads a line of JSON for each run, its id and the
folder for its figures, and writes one for each figure that is there, the run and the figure's name.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from hmct_track.analyses.stored import answer_of
from hmct_track.errors import HmctTrackError
from hmct_track.lake import Lake, lake_path
from hmct_track.lake.places import written


def main() -> None:
    """Draw what is asked for; what cannot be drawn is left to who asked, who then says why."""
    # The modules that import much, while there is nothing to draw yet.
    for name in ("ranking", "distribution", "boxes", "accumulation", "partial"):
        import_module(f"hmct_track.report.{name}")
    lake = Lake.open(lake_path(sys.argv[1]))
    for line in sys.stdin:
        run_id, folder = json.loads(line)
        try:
            figures = answer_of(lake, run_id).figures
            for stem in figures:
                _write(Path(folder) / f"{stem}.png", figures.png(stem))
                _write(Path(folder) / f"{stem}.svg", figures.svg(stem))
                sys.stdout.write(json.dumps([run_id, stem]) + "\n")
                sys.stdout.flush()
        except (HmctTrackError, OSError):
            continue


def _write(path: Path, content: bytes) -> None:
    with written(path) as temporary:
        temporary.write_bytes(content)


if __name__ == "__main__":
    main()
