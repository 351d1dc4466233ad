"""The model as a tree, folded by the module paths in the names of its nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from hmct_track.types import Metric

from .base import LakeScreen, feet
from .reads import Ranked, Ranking
from .text import bar, number, plain, severity, worst_of

_BAR = 10


def parts_of(name: str) -> list[str]:
    """The modules that a node is in, and its own name: by the slashes of its name."""
    return [part for part in name.split("/") if part] or [name]


def mse_of(rows: Sequence[Ranked]) -> float:
    """The sum of what the nodes cost one at a time, as mse at the output; NaN counts nothing."""
    values = (row.values[Metric.MSE] for row in rows)
    return sum(v for v in values if v is not None and 0 <= v < float("inf"))


class TreeScreen(LakeScreen):
    """Modules with the worst of their nodes, and their share of the nodes' summed mse."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "expand", "Unfold all"),
        Binding("escape", "app.pop_screen", "Back"),
    ]

    def __init__(self, ranking: Ranking, rows: Sequence[Ranked], metric: Metric) -> None:
        super().__init__()
        self._ranking, self._metric = ranking, metric
        self._listed = sorted(rows, key=lambda row: row.position)
        self._whole = mse_of(rows)

    def compose(self) -> ComposeResult:
        """The tree, its first level unfolded."""
        about = f"{self._ranking.run.model}  {len(self._listed)} nodes by module  "
        more = f"worst {self._metric.value}, and share of the sum of the single nodes' mse"
        yield Static(plain(about + more, "bold"), markup=False, classes="heading")
        yield Tree[Ranked](self._label(self._ranking.run.model, self._listed))
        yield from feet()

    def on_mount(self) -> None:
        """Fill it."""
        tree = self.query_one(Tree)
        self._add(tree.root, self._listed, 0)
        tree.root.expand()
        tree.focus()

    def _add(self, place: TreeNode[Ranked], rows: Sequence[Ranked], depth: int) -> None:
        groups: dict[str, list[Ranked]] = defaultdict(list)
        for row in rows:
            parts = parts_of(row.name)
            groups[parts[min(depth, len(parts) - 1)]].append(row)
        for name, own in groups.items():
            if len(own) == 1 and len(parts_of(own[0].name)) <= depth + 1:
                place.add_leaf(self._label(name, own), own[0])
            elif len(groups) == 1 and len(rows) == len(own) and depth > _DEEPEST:
                for row in own:  # names that are alike to their end
                    place.add_leaf(self._label(row.name, [row]), row)
            else:
                self._add(place.add(self._label(name, own)), own, depth + 1)

    def _label(self, name: str, rows: Sequence[Ranked]) -> Text:
        values = [row.values[self._metric] for row in rows]
        worst = worst_of(values, self._metric)
        every = worst_of((r.values[self._metric] for r in self._listed), self._metric)
        style = self.color(severity(worst, self._metric, every)) if self.is_attached else ""
        share = mse_of(rows) / self._whole if self._whole else 0.0
        text = bar(share, _BAR, style).append_text(plain(f" {100 * share:5.1f} %  "))
        text.append_text(plain(name))
        count = f"  {len(rows)} nodes, worst" if len(rows) > 1 else ""
        text.append_text(plain(f"{count} "))
        return text.append_text(plain(number(worst) or "nan", style))

    def action_expand(self) -> None:
        """Unfold everything."""
        self.query_one(Tree).root.expand_all()

    @on(Tree.NodeSelected)
    def _chosen(self, message: Tree.NodeSelected[Any]) -> None:
        """A module unfolds; a node opens."""
        from .node import NodeScreen

        row = message.node.data
        if row is not None:
            names = [r.name for r in self._listed]
            place = names.index(row.name)
            self.app.push_screen(NodeScreen(self._ranking, names, place, self._metric))


_DEEPEST = 32
"""Names whose modules go deeper are listed as they are."""
