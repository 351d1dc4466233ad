"""SQL on the lake: shipped queries and free statements, read-only."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import platformdirs
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, OptionList, Static, TextArea
from textual.widgets.option_list import Option
from textual.widgets.text_area import TextAreaTheme

from .base import LakeScreen, Notice, feet
from .grid import Grid, GridColumn
from .reads import Ranking
from .text import clean, number, plain

if TYPE_CHECKING:
    from hmct_track.lake import Query, Result

_MOST_KEPT = 200
_WIDEST = 40
_LISTED = 40
_WORD = re.compile(r"\w+$")
_KEYWORDS = ("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "USING", "DESC")
_OF_NODE = ("node", "subject", "slot")
"""Columns that hold a node."""


@dataclass(frozen=True)
class Asked:
    """A statement, or a shipped query with its parameters."""

    text: str
    query: str | None = None
    given: dict[str, str] = field(default_factory=dict)


class SqlScreen(LakeScreen):
    """A catalog, an editor, and the rows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+r", "run", "Run", priority=True),
        Binding("f7", "older", "Older", priority=True),
        Binding("f8", "newer", "Newer", priority=True),
        Binding("ctrl+e", "export", "CSV", priority=True),
        Binding("ctrl+n", "complete", "Complete", priority=True),
        Binding("enter", "row", "Row"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._query: Query | None = None
        self._result: Result | None = None
        self._history: list[Asked] = []
        self._at = 0
        self._began = 0.0
        self._is_running = False
        self._wanted = ""
        self._recalled: dict[str, str] | None = None
        """What the fields of the query that is being loaded are to hold."""

    def compose(self) -> ComposeResult:
        """The catalog on the left, the rest on the right."""
        with Horizontal():
            yield OptionList(id="catalog", markup=False)
            with Vertical():
                text = "SELECT * FROM runs ORDER BY run_id DESC LIMIT 20"
                yield TextArea(text, language="sql", id="editor")
                yield Vertical(id="parameters")
                yield Static(markup=False, id="said")
                yield Grid("f5 or ctrl+r runs the statement.", id="result")
        yield from feet()

    def on_mount(self) -> None:
        """Read catalog and history."""
        editor = self.query_one("#editor", TextArea)
        editor.focus()
        editor.select_all()  # what one types takes the place of the example
        self.ask("catalog", _catalog)
        self.ask("history", _read_history)

    def resized(self) -> None:
        """Words of SQL in colours that can be read on the theme's background."""
        editor = self.query_one("#editor", TextArea)
        if self.app.current_theme.dark:
            editor.theme = "css"
            return
        light = TextAreaTheme.get_builtin_theme("github_light") or TextAreaTheme("plain")
        # Its grey of types, which tables are to it, can hardly be read.
        styles = {**light.syntax_styles}
        styles.pop("type", None)
        editor.register_theme(replace(light, name="light", syntax_styles=styles))
        editor.theme = "light"

    def show_catalog(self, found: list[tuple[str, str]]) -> None:
        """Shipped queries, then tables."""
        options = [
            Option(plain(name if kind == "query" else f"FROM {name}"), id=f"{kind} {name}")
            for kind, name in found
        ]
        self.query_one("#catalog", OptionList).add_options(options)

    def show_history(self, found: list[Asked]) -> None:
        """Statements of before."""
        self._history = [*found, *self._history]
        self._at = len(self._history)

    @on(OptionList.OptionSelected)
    def _taken(self, message: OptionList.OptionSelected) -> None:
        kind, _, name = str(message.option.id).partition(" ")
        if kind == "query":
            self.ask("query", partial(_load, name))
            return
        self._set(f"SELECT * FROM {name} LIMIT 100")  # noqa: S608 - a table of ours
        self.action_run()

    def take_query(self, name: str) -> None:
        """A shipped query by its name."""
        self.call_after_refresh(self.ask, "query", partial(_load, name))

    def show_query(self, query: Query) -> None:
        """A shipped query: its SQL, and a field for each parameter."""
        self._set(query.sql)
        self._query = query
        place = self.query_one("#parameters", Vertical)
        runs = [run for run in self.debugger.runs if run.state == "FINISHED"]
        hint = next((p.meaning.rpartition(" ")[2] for p in query.params if p.name == "run_id"), "")
        fitting = [run for run in runs if run.kind == hint] or runs
        latest = fitting[0].run_id if fitting else ""
        defaults = {
            "run_id": latest,
            "run_a": fitting[1].run_id if len(fitting) > 1 else latest,
            "run_b": latest,
            **{param.name: param.default or "" for param in query.optional},
        }
        if self._recalled is not None:
            defaults = self._recalled
            self._recalled = None
        fields = [
            Input(defaults.get(p.name, ""), placeholder=p.meaning, compact=True, name=p.name)
            for p in (*query.params, *query.optional)
        ]
        place.mount_all(
            Horizontal(Label(plain(str(it.name))), it, classes="parameter") for it in fields
        )
        self.query_one("#said", Static).update(
            plain(f"{query.name}: {query.summary}  "
                  f"({', '.join(p.name for p in query.params) or 'no parameters'}) f5 runs it")
        )  # fmt: skip
        (fields[0] if fields else self.query_one("#editor")).focus()

    def _set(self, text: str) -> None:
        self._query = None
        self.query_one("#parameters", Vertical).remove_children()
        self.query_one("#editor", TextArea).text = text

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_run()

    def action_run(self) -> None:
        """Run what the editor holds."""
        text = self.query_one("#editor", TextArea).text.strip()
        if not text:
            return
        if self._is_running:
            self.app.notify("a statement runs; escape interrupts it", severity="warning")
            return
        self._began, self._is_running = time.monotonic(), True
        self.query_one("#said", Static).update(plain("running ...  escape interrupts it"))
        asked = self._asked(text)
        self._remember(asked)
        given = asked.given if asked.query else None
        self.ask("result", partial(self.reader.sql, asked.query or text, given))

    def _asked(self, text: str) -> Asked:
        query = self._query
        if query is None or query.sql.strip() != text:
            return Asked(text)
        required = {p.name for p in query.params}
        fields = self.query_one("#parameters").query(Input)
        given = {str(f.name): f.value for f in fields if f.value or f.name in required}
        return Asked(text, query.name, given)

    def _remember(self, asked: Asked) -> None:
        """Keep it, whether it succeeds or fails: what failed is what one wants to mend."""
        if not self._history or self._history[-1] != asked:
            self._history.append(asked)
            self.ask("written", partial(_write_history, self._history[-_MOST_KEPT:]))
        self._at = len(self._history) - 1

    def show_result(self, result: Result) -> None:
        """The rows."""
        self._result, self._is_running = result, False
        spent = time.monotonic() - self._began
        rows = (
            f"the first {len(result.rows):,} rows; there are more"
            if result.is_cut
            else (f"{len(result.rows):,} rows")
        )
        self.query_one("#said", Static).update(plain(f"{rows}, {spent:.2f} s"))
        columns = [_column(result, place) for place in range(len(result.columns))]
        self.query_one("#result", Grid).show(columns, result.rows, _cells, empty="No rows.")
        self.query_one("#result").focus()

    def show_written(self, _: None) -> None:
        """The history is on disk."""

    def refused(self, what: str, reason: str) -> None:
        """What is wrong with the statement."""
        if what == "ranking":
            super().refused(what, reason)
            return
        if what == "written":
            return
        if what == "query":
            self._recalled = None
            return  # a query of another version: its SQL is there
        if what == "result":
            self._is_running = False
        lines = [clean(line) for line in reason.splitlines() if line.strip()]
        self.query_one("#said", Static).update(Text("\n".join(lines), self.color("bad")))

    def action_back(self) -> None:
        """Interrupt the statement that runs, or go back."""
        if self._is_running:
            self.reader.interrupt_sql()
        else:
            self.app.pop_screen()

    def on_screen_resume(self) -> None:
        """Go on where one was: what was typed is still there."""
        if not self.focused:
            self.query_one("#editor").focus()

    def on_unmount(self) -> None:
        """Leave nothing running: the application would wait for it at its end."""
        if self._is_running:
            self.reader.interrupt_sql()

    def action_older(self) -> None:
        """The statement before."""
        self._go(-1)

    def action_newer(self) -> None:
        """The statement after."""
        self._go(1)

    def _go(self, by: int) -> None:
        if self._history:
            self._at = max(0, min(self._at + by, len(self._history) - 1))
            asked = self._history[self._at]
            self._set(asked.text)
            if asked.query:
                self._recalled = asked.given
                self.ask("query", partial(_load, asked.query))

    # Completing

    def action_complete(self) -> None:
        """The word before the cursor as a table, a column or a keyword; several are listed."""
        editor = self.query_one("#editor", TextArea)
        row, column = editor.cursor_location
        word = _WORD.search(editor.document.get_line(row)[:column])
        begun = word[0] if word else ""
        found = [name for name in _words() if name.lower().startswith(begun.lower())]
        if not begun or not found:
            self.app.notify(f"nothing begins with {begun!r}" if begun else "type its beginning",
                            markup=False)  # fmt: skip
            return
        longest = commonprefix(found)  # noqa: RUF071 - characters of names are what is meant
        if len(longest) > len(begun) or len(found) == 1:
            editor.replace(longest, (row, column - len(begun)), (row, column))
        if len(found) > 1:
            self.query_one("#said", Static).update(plain("  ".join(found[:_LISTED])))

    # From a row to what it is about

    @on(Grid.Chosen)
    def _row_chosen(self) -> None:
        self.action_row()

    def action_row(self) -> None:
        """All of the row's cells in full; from there to its run or its node."""
        row = self.query_one("#result", Grid).current
        if row is None or self._result is None or not self.query_one("#result").has_focus:
            return
        cells = dict(zip(self._result.columns, row, strict=True))
        runs = {run.run_id: run for run in self.debugger.runs}
        run = next((runs[v] for v in cells.values() if isinstance(v, str) and v in runs), None)
        name = next((str(cells[c]) for c in _OF_NODE if cells.get(c)), None)
        answers = {"o": "open its run"} if run else {}
        if run and name:
            answers["n"] = "open its node"
        text = Text("\n").join(
            plain(f"{what}: ", "bold").append_text(plain(_shown(value), ""))
            for what, value in cells.items()
        )
        text.no_wrap, text.overflow = False, "fold"

        def go(answer: str | None) -> None:
            if answer == "o" and run:
                self.debugger.open_run(run)
            elif answer == "n" and run and name:
                self._wanted = name
                self.ask("ranking", partial(self.reader.ranking, run, run.metric))

        self.app.push_screen(Notice("Row", text, answers), go)

    def show_ranking(self, ranking: Ranking) -> None:
        """The node of the row."""
        if self._wanted in ranking.nodes:
            self.debugger.open_node(ranking, self._wanted)
        else:
            self.app.notify(f"{self._wanted} is no node of this model", markup=False)

    def action_export(self) -> None:
        """Write the rows to a CSV file in the present folder."""
        if self._result is None:
            self.app.notify("run a statement first", severity="warning", markup=False)
            return
        path = Path.cwd() / f"hmct_sql_{time.strftime('%Y%m%d_%H%M%S')}.csv"
        self.ask("exported", partial(_export, self._result, path))

    def show_exported(self, path: Path) -> None:
        """Say where it is."""
        cut = self._result is not None and self._result.is_cut
        more = "; hmct-debugger sql -f csv writes all rows" if cut else ""
        self.app.notify(f"wrote {path}{more}", markup=False)


def _words() -> list[str]:
    """What completes: tables and views, their columns, keywords."""
    from hmct_track.lake import TABLES, Use, query_names

    names = {*query_names(Use.VIEW), *_KEYWORDS}
    for table in TABLES:
        names |= {table.name, *(column.name for column in table.columns)}
    return sorted(names)


def _catalog() -> list[tuple[str, str]]:
    from hmct_track.lake import TABLES, Use, query_names

    views = [*query_names(Use.VIEW), *(table.name for table in TABLES)]
    return [*(("query", n) for n in query_names(Use.USER)), *(("table", view) for view in views)]


def _load(name: str) -> Query:
    from hmct_track.lake import load_query

    return load_query(name)


def _column(result: Result, place: int) -> GridColumn:
    title = result.columns[place]
    values = [_shown(row[place]) for row in result.rows[:200]]
    width = min(max([len(title), *(len(v) for v in values)]), _WIDEST)
    is_number = any(isinstance(row[place], int | float) for row in result.rows[:200])
    return GridColumn(title, title, width, right=is_number)


def _cells(row: tuple[Any, ...]) -> list[Text]:
    return [plain(_shown(value)) for value in row]


def _shown(value: Any) -> str:
    if isinstance(value, list | Mapping):
        from hmct_track.lake.result import to_json

        return to_json(value)
    return str(value) if isinstance(value, int) else number(value, 7)


def _export(result: Result, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        result.write_csv(stream)
    return path


def _history_file() -> Path:
    return platformdirs.user_state_path("hmct-track") / "sql_history.json"


def _read_history() -> list[Asked]:
    try:
        found = json.loads(_history_file().read_text(encoding="utf-8"))
        return [Asked(**item) if isinstance(item, dict) else Asked(str(item)) for item in found]
    except (OSError, ValueError, TypeError):
        return []


def _write_history(asked: list[Asked]) -> None:
    path = _history_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(item) for item in asked]), encoding="utf-8")
