"""A table that draws only the rows in sight, so that a hundred thousand cost what ten do."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from .text import plain

_LEAST = 8
"""Cells of a column, however short its content."""

Cells = Callable[[Any], Sequence[Text]]


@dataclass(frozen=True)
class GridColumn:
    """A column: what a click on its header means, its heading and its width in cells."""

    key: str
    title: str
    width: int
    right: bool = False
    is_fixed: bool = False
    """Whether it stays in sight when the others are scrolled; such columns come first."""


def stretched(
    columns: Sequence[GridColumn], width: int, wanted: Mapping[str, int], needed: Container[str]
) -> tuple[GridColumn, ...]:
    """Columns, some of them as wide as their content, as far as there is room.

    Args:
        columns: with the widths that they have at least.
        width: cells that there are.
        wanted: key to the width of the longest content, the most important first.
        needed: keys of the columns that are to stay in sight; others are a scroll away.
    """
    kept = [c for c in columns if c.key in wanted or c.key in needed]
    room = width - sum(column.width + 1 for column in kept)
    grown: dict[str, int] = {}
    for key, most in wanted.items():
        least = next(column.width for column in columns if column.key == key)
        grown[key] = min(most, least + max(room, 0)) if most > least else max(most, _LEAST)
        room -= grown[key] - least
    return tuple(replace(c, width=grown.get(c.key, c.width)) for c in columns)


class Grid(ScrollView, can_focus=True):
    """Rows of any kind, turned into cells as they come into sight."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--header",
        "grid--cursor",
        "grid--blurred",
        "grid--marked",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("left", "scroll_columns(-1)", "Left", show=False),
        Binding("right", "scroll_columns(1)", "Right", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go(0)", "First", show=False),
        Binding("end", "go(-1)", "Last", show=False),
    ]

    cursor: reactive[int] = reactive(0)

    class Chosen(Message):
        """A click on the row under the cursor; a key for it belongs to the screen."""

        def __init__(self, table: Grid, row: Any) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> Grid:
            """The table, for selectors."""
            return self.table

    class HeaderClicked(Message):
        """A click on a heading."""

        def __init__(self, table: Grid, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> Grid:
            """The table, for selectors."""
            return self.table

    class Moved(Message):
        """Another row is under the cursor."""

        def __init__(self, table: Grid, row: Any) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> Grid:
            """The table, for selectors."""
            return self.table

    def __init__(self, empty: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.rows: Sequence[Any] = ()
        self._columns: Sequence[GridColumn] = ()
        self._cells: Cells = lambda row: ()
        self._key: Callable[[Any], Any] = id_of
        self._marked: frozenset[Any] = frozenset()
        self._empty = empty

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def current(self) -> Any:
        """The row under the cursor; None if there is none."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def show(
        self,
        columns: Sequence[GridColumn],
        rows: Sequence[Any],
        cells: Cells,
        key: Callable[[Any], Any] | None = None,
        marked: frozenset[Any] = frozenset(),
        empty: str | None = None,
        *,
        from_top: bool = False,
    ) -> None:
        """Show these rows; the cursor stays on the row of the same key, if there is one.

        Args:
            columns: their headings and widths.
            rows: anything.
            cells: makes the cells of a row, one per column.
            key: what identifies a row.
            marked: keys of rows that stand out.
            empty: what is said when there are no rows.
            from_top: put the cursor on the first row instead, as for the first match of a filter.
        """
        key = key or id_of
        before = None if from_top or self.current is None else self._key(self.current)
        self._columns, self.rows, self._cells, self._key = columns, rows, cells, key
        self._marked = marked
        self._empty = self._empty if empty is None else empty
        self._resize()
        places = (i for i, row in enumerate(rows) if before is not None and key(row) == before)
        place = next(places, 0 if from_top else min(self.cursor, max(len(rows) - 1, 0)))
        if place == self.cursor:
            self._announce()
        self.cursor = place
        self.refresh()

    def go_to(self, key: Any) -> None:
        """Put the cursor on the row of this key, if there is one."""
        for place, row in enumerate(self.rows):
            if self._key(row) == key:
                self.cursor = place
                return

    def _resize(self) -> None:
        width = sum(column.width + 1 for column in self._columns)
        self.virtual_size = Size(width, len(self.rows) + 1)

    def render_line(self, y: int) -> Strip:
        """One line of what is in sight: the heading, or a row."""
        width = self.scrollable_content_region.width
        left = round(self.scroll_offset.x)
        base = self.rich_style
        if y == 0:
            style = self.get_component_rich_style("grid--header")
            titles = [plain(c.title) for c in self._columns]
            return self._cropped(self._line(titles, style), left, width, style)
        place = round(self.scroll_offset.y) + y - 1
        if place >= len(self.rows):
            note = self._empty if not self.rows and y == 1 else ""
            return Strip([Segment(note, base + Style(dim=True))]).crop_extend(0, width, base)
        row = self.rows[place]
        cells = self._cells(row)
        if place == self.cursor:
            has_focus = self.has_focus or not self.screen.focused
            style = self.get_component_rich_style(f"grid--{'cursor' if has_focus else 'blurred'}")
            cells = [Text(cell.plain) for cell in cells]
        elif self._key(row) in self._marked:
            style = base + self.get_component_rich_style("grid--marked")
        else:
            style = base
        return self._cropped(self._line(cells, style), left, width, style)

    @property
    def _fixed(self) -> int:
        """Cells that do not scroll."""
        return sum(column.width + 1 for column in self._columns if column.is_fixed)

    def _cropped(self, line: Strip, left: int, width: int, style: Style) -> Strip:
        fixed = self._fixed
        rest = line.crop_extend(fixed + left, left + width, style)
        return Strip.join([line.crop(0, fixed), rest])

    def _line(self, cells: Sequence[Text], style: Style) -> Strip:
        line = Text(no_wrap=True, end="")
        for column, cell in zip(self._columns, cells, strict=False):
            cut = cell.copy()
            cut.truncate(column.width, overflow="ellipsis")
            cut.align("right" if column.right else "left", column.width)
            line.append_text(cut).append(" ")
        return Strip(Segment.apply_style(line.render(self.app.console), style))

    def watch_cursor(self) -> None:
        """Keep the cursor in sight and tell about it."""
        below = Region(0, self.cursor + 1, 1, 1)
        top, height = round(self.scroll_offset.y), max(self._height() - 1, 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=below.y - height, animate=False)
        self.refresh()
        self._announce()

    def validate_cursor(self, value: int) -> int:
        """Keep the cursor on a row."""
        return max(0, min(value, len(self.rows) - 1))

    def _announce(self) -> None:
        if self.current is not None:
            self.post_message(self.Moved(self, self.current))

    def _height(self) -> int:
        return self.scrollable_content_region.height

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.cursor += by

    def action_scroll_columns(self, by: int) -> None:
        """Scroll to the beginning of another column."""
        at, begins = 0, [0]
        for column in self._columns:
            if not column.is_fixed:
                at += column.width + 1
                begins.append(at)
        left = round(self.scroll_offset.x)
        beyond = [x for x in begins if (x > left if by > 0 else x < left)]
        if beyond:
            self.scroll_to(x=min(beyond) if by > 0 else max(beyond), animate=False)

    def action_page(self, by: int) -> None:
        """Move the cursor by what is in sight."""
        self.cursor += by * max(self._height() - 2, 1)

    def action_go(self, place: int) -> None:
        """Move the cursor to a row; -1 is the last."""
        self.cursor = place if place >= 0 else len(self.rows) - 1

    def on_click(self, event: events.Click) -> None:
        """Move the cursor, choose the row under it, or sort by a heading."""
        if event.y == 0:
            at = event.x if event.x < self._fixed else event.x + self.scroll_offset.x
            for column in self._columns:
                if at <= column.width:
                    self.post_message(self.HeaderClicked(self, column.key))
                    return
                at -= column.width + 1
            return
        place = round(self.scroll_offset.y) + event.y - 1
        if place < len(self.rows):
            if place == self.cursor:
                self.post_message(self.Chosen(self, self.current))
            self.cursor = place


def id_of(row: Any) -> int:
    """What identifies a row that has no key of its own."""
    return id(row)
