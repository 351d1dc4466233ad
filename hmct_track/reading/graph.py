"""The network of a run, drawn: as a page, for a notebook, for Graphviz and for Model Explorer."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hmct_track.errors import UsageError
from hmct_track.lake import Lake, find_run, lake_path

if TYPE_CHECKING:
    from hmct_track.report.network import Network
    from hmct_track.report.shades import Coloring

FORMATS = {"html": ".html", "svg": ".svg", "dot": ".dot", "model-explorer": ".json"}
"""What can be written, and how such a file's name ends."""


@dataclass(frozen=True, eq=False)
class NetworkGraph:
    """A network with what a run measured of it; a notebook shows it."""

    network: Network = field(repr=False)
    way: Coloring | None = field(repr=False)
    """Its colours, where the user chose them."""
    run_id: str
    lake: Path = field(repr=False)
    """The lake that it is from."""

    @cached_property
    def html(self) -> str:
        """The page: it needs nothing but itself."""
        from hmct_track.report import whole_line
        from hmct_track.report.page import render_page
        from hmct_track.report.summary import provenance, sentences

        network, lead = self.network, ""
        if network.whole:
            lead = whole_line(network.whole, [network.metric], network.samples)
        model = str(network.run["model"])
        said = sentences(network, lead)
        return render_page(model, provenance(network, model), (), said, network, self.way)

    def text(self, kind: str = "html", *, unfolded: bool = False) -> str:
        """What is written.

        Args:
            kind: html, svg, dot or model-explorer.
            unfolded: whether svg and dot have every node, however many there are; by default
                modules of a network of more than 150 nodes are folded.

        Raises:
            UsageError: the kind is not known, Graphviz is missing, or nothing was measured.
        """
        from hmct_track.report.formats import coloring_of, dot_text, model_explorer_text, svg_text

        if kind == "html":
            return self.html
        if kind not in FORMATS:
            raise UsageError(f"format must be one of {', '.join(FORMATS)}, not {kind!r}")
        way = self.way or coloring_of(self.network, None)
        if kind == "model-explorer":
            return model_explorer_text(self.network, way)
        dot = dot_text(self.network, way, folded=not unfolded)
        return dot if kind == "dot" else svg_text(dot)

    def save(
        self, file: str | os.PathLike[str], kind: str | None = None, *, unfolded: bool = False
    ) -> Path:
        """Write it.

        Args:
            file: where to.
            kind: as in `text`; by default what the file's name ends with says, or html.
            unfolded: as in `text`.

        Raises:
            UsageError: the file cannot be written, and what `text` raises.
        """
        path = Path(file)
        if kind is None:
            kind = next((k for k, end in FORMATS.items() if end == path.suffix.lower()), "html")
        text = self.text(kind, unfolded=unfolded)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write the graph to {str(path)!r}: {error}") from error
        return path

    def _repr_html_(self) -> str:
        """A notebook shows the page in a frame that cannot reach the notebook."""
        return (
            '<iframe sandbox="allow-scripts" title="graph of the network" '
            'style="width:100%;height:55rem;border:1px solid #8886" '
            f'srcdoc="{html.escape(self.html)}"></iframe>'
        )


def graph(
    run: str,
    after: str | None = None,
    *,
    lake: str | os.PathLike[str] | None = None,
    by: str | None = None,
) -> NetworkGraph:
    """The network of a run, coloured by what was measured.

    Args:
        run: a run id, the beginning of one, a tag, ``latest`` or ``latest~1``; of any kind.
        after: a later run: it is drawn, coloured by what changed from the first.
        lake: folder of the lake; by default what HMCT_LAKE says, else ``./hmct_lake``.
        by: a metric, ``share``, ``cause``, ``type``, ``change``, or ``weight:`` or
            ``activation:`` and a metric; by default the run's metric, or the change.

    Raises:
        LakeError: the lake cannot be read.
        UsageError: there is no such run, or nothing to colour it by.
    """
    from hmct_track.report.formats import coloring_of
    from hmct_track.report.network import network_of

    opened = Lake.open(lake_path(lake))
    first = find_run(opened, run)["run_id"]
    shown = find_run(opened, after)["run_id"] if after else first
    network = network_of(opened, shown, first if after else None)
    way = None if by is None else coloring_of(network, by)
    return NetworkGraph(network, way, shown, opened.path)
