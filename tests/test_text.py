"""Names from others, shown: no terminal obeys them, SVG stays XML, messages stay one line."""

from __future__ import annotations

import sys
import unicodedata
from xml.etree import ElementTree as ET

import pytest

from hmct_track.cli import main
from hmct_track.cli.output import print_table
from hmct_track.errors import ModelError
from hmct_track.lake.result import Result
from hmct_track.report import (
    channels_text,
    comparison,
    curves_text,
    distribution_text,
    samples_table,
    sensitivity_table,
)
from hmct_track.report.accumulation import accumulation_figure
from hmct_track.report.ranking import ranking_figure
from hmct_track.report.style import svg
from hmct_track.text import one_line, visible
from hmct_track.types import Metric, NodeType
from tests.support.rows import ranked_rows as rows

# ESC, a bell, NUL, C1's CSI, an override of direction, ends of lines, and what XML has not.
EVIL = "Conv\x1b[31m\x07\x00\x9b\u202e\u2028\r\n\ufffe"
SHOWN = r"Conv\x1b[31m\x07\x00\x9b\u202e\u2028\r\n\ufffe"


def obeyed(text: str) -> set[str]:
    """The characters of a text, ends of lines left out, that a terminal does not just draw."""
    odd = {"Cc", "Cs", "Zl", "Zp", "Cn"}
    return {c for c in text if unicodedata.category(c) in odd and c != "\n"} & set(EVIL)


def test_every_character_that_is_no_picture_is_written_out() -> None:
    for code in range(sys.maxunicode + 1):
        c = chr(code)
        category = unicodedata.category(c)
        if category in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in {
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        }:
            assert visible(c) == c.encode("unicode_escape").decode(), code
        elif category[0] in "LNPS" or category in ("Zs", "Mn", "Mc"):
            assert visible(c) == c, code
    assert visible(EVIL) == SHOWN


def test_a_message_is_one_line_with_both_its_ends() -> None:
    error = ModelError("the node\n  'a'\x1b is wrong: " + "x" * 5000 + "; export it again")
    assert len(str(error)) <= 300
    assert str(error).startswith(r"the node 'a'\x1b is wrong: xxx")
    assert str(error).endswith("x; export it again")
    assert one_line("short") == "short"
    assert len(one_line("x" * 301, 300)) == 300


def test_the_command_line_cuts_what_it_did_not_foresee(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise RuntimeError(EVIL + "x" * 10_000)

    monkeypatch.setattr("hmct_track.cli.tui.run", broken)
    monkeypatch.delenv("HMCT_TRACEBACK", raising=False)
    assert main(["tui"]) == 1
    said = capsys.readouterr().err
    assert len(said) <= 301
    assert said.count("\n") == 1
    assert not obeyed(said)
    assert said.endswith("(HMCT_TRACEBACK=1 shows where)\n")


def test_text_tables() -> None:
    (ranked,) = rows([0.5], [EVIL])
    series = {
        **dict.fromkeys(("min", "max", "mean", "std"), 0.5),
        "node": EVIL,
        "series": "float",
        "threshold": None,
        "channel": 0,
    }
    sample = {"sample": 0, "value": 0.5, "source": EVIL}
    text = [
        sensitivity_table([ranked], NodeType.NODE, [Metric.MSE]),
        sensitivity_table(
            [{**ranked, "consumers": [EVIL], "threshold": 1.0, "bits": 8}],
            NodeType.ACTIVATION,
            [Metric.MSE],
        ),
        curves_text([{"curve": EVIL, "node": EVIL, "value": 0.5}], Metric.MSE),
        distribution_text([series]),
        channels_text([series]),
        samples_table([sample], Metric.MSE),
        comparison.section("title", ["node"], [[EVIL]]),
        comparison.code(EVIL),
    ]
    for shown in text:
        assert not obeyed(shown)
        assert r"Conv\x1b[31m" in shown or r"[31m\x07" in shown


def test_rows_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Result((EVIL,), [(EVIL,), ([EVIL],)]))
    shown = capsys.readouterr().out
    assert not obeyed(shown)
    assert SHOWN in shown


def test_svg_figures_are_xml() -> None:
    ranking = ranking_figure(rows([0.5, 0.25], [EVIL, "b"]), Metric.MSE, EVIL)
    assert SHOWN[-12:] in "".join(t.get_text() for t in ranking.axes[1].get_yticklabels())
    step = {"curve": EVIL, "role": "curve", "step": 0, "node": EVIL, "value": 0.5}
    curve = accumulation_figure([step, {**step, "step": 1}], Metric.MSE, EVIL, average_mode=False)
    for figure in (ranking, curve):
        ET.fromstring(svg(figure))  # noqa: S314
