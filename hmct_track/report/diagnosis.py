"""A diagnosis in words: why a node costs accuracy and what mends it, each with its number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hmct_track.report.html import Table
from hmct_track.report.tables import format_value, plain_table
from hmct_track.text import counted
from hmct_track.types import Metric

if TYPE_CHECKING:
    from hmct_track.remedies.verdict import Gain

HELPS = 0.05
"""A remedy helps where it takes away this share of the error."""
_IMBALANCE = 8.0
"""Ranges of channels that differ by less are not spoken of."""
_LOST_BITS = 1.0
_OUTLIERS = 3.0
_WORST_SHARE = 0.3
_TIMES_EVEN = 3.0
_SHIFTED = 0.2

Rows = Sequence[Mapping[str, Any]]


def said(
    causes: Rows, remedies: Rows, metric: Metric, lost: Mapping[str, str] | None = None
) -> list[str]:
    """Two lines for each node: what is wrong, and what mends it.

    Args:
        causes: rows of the query ``causes``.
        remedies: rows of the query ``remedies``.
        metric: the metric of both.
        lost: node to what it loses of scores alone, in words.
    """
    lines = []
    for wrong, mends in _words(causes, remedies, metric, lost or {}):
        lines += [wrong, f"  {mends}"]
    return lines


def words_table(
    causes: Rows, remedies: Rows, metric: Metric, lost: Mapping[str, str] | None = None
) -> Table:
    """The same as a table, for pages and notes."""
    lines = [list(words) for words in _words(causes, remedies, metric, lost or {})]
    return Table(("what is wrong", "what mends it"), lines, frozenset())


def remedies_text(rows: Rows, metric: Metric) -> str:
    """All remedies that were measured, as a table."""
    header = ["node", "remedy", "price", f"{metric} before", "after"]
    lines = [
        [r["subject"], r["remedy"], r["price"], _value(r["before"], metric),
         _value(r["after"], metric)]
        for r in rows
    ]  # fmt: skip
    return plain_table(header, lines)


def mending_text(
    rows: Rows,
    steps: Rows,
    samples: int,
    *,
    better: bool,
    gain: Gain | None = None,
    compared: Gain | None = None,
    scores: Sequence[str] = (),
) -> str:
    """A mended model against the one before, and the steps that led to it.

    Args:
        rows: rows of the query ``mending``, by SQNR.
        steps: rows of the query ``mending_steps``.
        samples: how many samples there were.
        better: whether it was written.
        gain: that of the outputs' SQNR on the held-out samples.
        compared: that of what the last layer reads, where the search compared that.
        scores: lines about scores before and after, on the held-out samples.
    """
    before, after = rows[0], rows[-1]
    held = samples // 4
    header = ["SQNR in dB", "before", "mended"]
    lines = [
        [
            counted(held, "held-out sample"),
            *map(format_value, (before["held_out"], after["held_out"])),
        ],
        [counted(samples - held, "other"), *map(format_value, (before["chosen"], after["chosen"]))],
    ]
    said = [plain_table(header, lines), "", *scores, *([""] if scores else [])]
    if steps:
        taken = [
            [
                s["step"],
                str(s["nodes"]),
                f"{s['choosing']:+.2f}",
                f"{s['checking']:+.2f}",
                "" if s["held_out"] is None else f"{s['held_out']:+.2f}",
            ]
            for s in steps
        ]
        names = ["step", "nodes", "dB where chosen", "checked", "all so far, held out"]
        said += [plain_table(names, taken), ""]
    if better:
        by = " by SQNR, which decides" if scores else ""
        what = "what its last layer reads" if gain and gain.mean < 0 else "it"
        said.append(f"on the held-out samples, which chose nothing, {what} is better{by}")
    elif not steps:
        said.append("no free remedy helps beyond its standard error; no model is written")
    else:
        said.append("on the held-out samples it is not better; no model is written")
    if gain and steps:
        said += _gains(gain, compared)
    return "\n".join(said)


def _gains(gain: Gain, compared: Gain | None) -> Iterator[str]:
    yield f"gain there {_interval(gain)}"
    if compared:
        yield f"gain of what the last layer reads {_interval(compared)}"
    if gain.tells:
        return
    if compared and compared.tells:
        yield (
            "so few held-out samples do not tell by the outputs whether it is better: give more "
            "(-d); what the last layer reads tells, and decides"
        )
    else:
        yield "so few held-out samples do not tell whether it is better: give more (-d)"


def _interval(gain: Gain) -> str:
    return f"{gain.mean:+.2f} dB, 95 % interval {gain.low:+.2f} to {gain.high:+.2f}"


def _words(
    causes: Rows, remedies: Rows, metric: Metric, lost: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    tried: dict[str, list[Mapping[str, Any]]] = {}
    for row in remedies:
        tried.setdefault(row["subject"], []).append(row)
    for subject, rows in groupby(causes, key=lambda row: row["subject"]):
        wrong = _wrong(subject, list(rows), metric, lost.get(subject, ""))
        yield wrong, _mends(tried.get(subject, []), metric)


def _wrong(subject: str, rows: list[Mapping[str, Any]], metric: Metric, lost: str) -> str:
    """What is wrong with a node, the most costly of its quantizers first."""
    first = rows[0]
    op = f" ({first['op_type']})" if first["op_type"] else ""
    ranked = sorted(rows, key=lambda row: metric.badness(row["alone"]), reverse=True)
    told = [f"{subject}{op}: {metric} {_value(first['together'], metric)} alone"]
    told += [lost] if lost else []
    told.append(_of_quantizer(ranked[0], metric, other=ranked[1] if ranked[1:] else None))
    if first["mean_shift"] is not None and first["mean_shift"] >= _SHIFTED:
        told.append(f"{_percent(first['mean_shift'])} of the error of its output is a shifted mean")
    dead = [row for row in ranked if row["dead_channels"]]
    told += [
        f"dead channels of its {row['kind']}: {row['dead_channels']} of {row['channels']}"
        for row in dead
    ]
    return "; ".join(told)


def _of_quantizer(row: Mapping[str, Any], metric: Metric, other: Mapping[str, Any] | None) -> str:
    kind = row["kind"]
    told = [f"most by its {kind}: {_value(row['alone'], metric)}"]
    if other is not None:
        told[0] += f" (its {other['kind']} {_value(other['alone'], metric)})"
    told += [_effects(row, metric)] if row["clipping"] is not None else []
    told += list(_ranges(row))
    return ", ".join(told)


def _effects(row: Mapping[str, Any], metric: Metric) -> str:
    """Clipping or rounding."""
    if not row["saturation"] and not row["clip_share"]:
        return "clips nothing"
    by = f"clipping alone {_value(row['clipping'], metric)}"
    by += f", rounding alone {_value(row['rounding'], metric)}"
    clips = metric.badness(row["clipping"]) > metric.badness(row["rounding"])
    main = "clipping is most of it" if clips else "rounding is most of it"
    return f"clips {_percent(row['saturation'])} of its values, {main} ({by})"


def _ranges(row: Mapping[str, Any]) -> Iterator[str]:
    """What the levels are spent on."""
    bits, imbalance = row["bits"], row["imbalance"]
    one = row["scales"] == 1
    uneven = one and imbalance is not None and imbalance >= _IMBALANCE
    if uneven and row["channel_bits"] is not None and bits - row["channel_bits"] >= _LOST_BITS:
        yield (
            f"uses {row['channel_bits']:.1f} of {bits} bits: one scale for {row['channels']} "
            f"channels whose ranges differ by {imbalance:.3g}"
        )
    elif row["effective_bits"] is not None and bits - row["effective_bits"] >= _LOST_BITS:
        told = f"99.9 % of its values use {row['effective_bits']:.1f} of {bits} bits"
        outliers = row["outlier_ratio"]
        if outliers is not None and outliers >= _OUTLIERS:
            told += f", the largest is {outliers:.3g} times their bound"
        yield told
    if row["lost_channels"]:
        yield f"{row['lost_channels']} of {row['channels']} channels rounded to zero"
    share = row["worst_share"]
    if share is not None and share >= _WORST_SHARE and share * row["channels"] >= _TIMES_EVEN:
        yield f"channel {row['worst_channel']} carries {_percent(share)} of its error"


def _mends(rows: Rows, metric: Metric) -> str:
    """What mends it for nothing, and what at a price."""
    told = []
    free = [row for row in rows if row["price"] == "free"]
    if not free:
        told.append("no free remedy is allowed or fits")
    elif helps(free[0], metric):
        best = free[0]
        told.append(
            f"free: {best['remedy']} brings {_value(best['before'], metric)} to "
            f"{_value(best['after'], metric)}"
        )
    else:
        told.append(
            f"nothing free helps (best of {len(free)}: {free[0]['remedy']}, "
            f"{_value(free[0]['after'], metric)})"
        )
    for price in ("int16", "float16"):
        dear = [row for row in rows if row["price"] == price]
        if dear and (price == "int16" or not any(r["price"] == "int16" for r in rows)):
            shown = [f"{row['remedy']} {_value(row['after'], metric)}" for row in dear]
            told.append(f"at a price: {', '.join(shown)}")
    return "; ".join(told)


def helps(row: Mapping[str, Any], metric: Metric) -> bool:
    """Whether a remedy takes away a share of the error that is worth a word.

    By the metric and, as decibels are no share, by the squared error at the output.
    """
    if metric.badness(row["after"]) >= metric.badness(row["before"]):
        return False
    before, after = row["before_error"], row["after_error"]
    return before is None or after is None or after <= before * (1 - HELPS)


def _value(value: float | None, metric: Metric) -> str:
    return format_value(value) + (f" {metric.unit}" if metric.unit else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
