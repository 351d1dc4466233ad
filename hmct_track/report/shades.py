"""Colours of a graph: what stands for what, in numbers from 0 (nothing) to 1 (the worst).

An error is shaded by its decades below the worst, as errors of one network span many:
``t = 1 + log10(error / worst) / 4``,
at least 0. A share is shaded in proportion, a change in proportion on both
sides of none. The page, Graphviz and Model Explorer use the same numbers and palettes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hmct_track.metrics import value_of
from hmct_track.report.network import NODE, QUANTIZERS, Item, Network
from hmct_track.report.tables import adapted_values
from hmct_track.types import Metric

DECADES = 4
PALETTES = {
    "error": {
        "light": ("#f3f1ec", "#fed976", "#fd8d3c", "#e31a1c", "#800026"),
        "dark": ("#33373d", "#6b4a2b", "#b5651d", "#f28c28", "#ffe08a"),
    },
    "change": {
        "light": ("#2166ac", "#92c5de", "#f3f1ec", "#f4a582", "#b2182b"),
        "dark": ("#7cc0ff", "#2f6ea3", "#33373d", "#b5523c", "#ff9d8a"),
    },
}
"""From 0 to 1; of changes from much better to much worse. Lightness rises or falls throughout."""
CATEGORIES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999",
)  # fmt: skip
"""Okabe and Ito's, which people with any colour vision tell apart; the last is for the rest."""
NOT_A_NUMBER = "#a000c0"
"""Measured, and NaN for every sample: the worst there is."""


@dataclass
class Coloring:
    """One way to colour the items of a network."""

    id: str
    label: str
    heading: str
    kind: str
    """error, change or category."""
    t: list[float | None]
    """Of each item; None has no value. Of a category its position in the legend."""
    texts: list[str]
    """The same in words; empty without a value."""
    legend: list[tuple[float, str]]
    note: str = ""
    source: dict[int, int] = field(default_factory=dict)
    """The item whose value an item has, where it is not its own."""


def color(t: float, kind: str = "error", theme: str = "light") -> str:
    """A shade as ``#rrggbb``: linear in sRGB between the colours of its palette.

    Args:
        t: 0 to 1.
        kind: error or change.
        theme: light or dark.
    """
    stops = PALETTES[kind][theme]
    place = min(max(t, 0.0), 1.0) * (len(stops) - 1)
    k = min(int(place), len(stops) - 2)
    both = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in stops[k : k + 2]]
    mixed = [math.floor(a + (b - a) * (place - k) + 0.5) for a, b in zip(*both, strict=True)]
    return "#" + "".join(f"{c:02x}" for c in mixed)


def css_color(coloring: Coloring, position: int) -> str | None:
    """The colour of an item on white; None without a value."""
    t = coloring.t[position]
    if t is None:
        return None
    if t < 0:
        return NOT_A_NUMBER
    return CATEGORIES[int(t)] if coloring.kind == "category" else color(t, coloring.kind)


def shade(error: float, worst: float) -> float:
    """Decades below the worst error, as 0 to 1."""
    if not worst or error <= 0:
        return 0.0
    if math.isinf(error):
        return 1.0
    return min(max(1 + math.log10(error / worst) / DECADES, 0.0), 1.0)


def colorings(network: Network) -> list[Coloring]:
    """All ways to colour a network, the one that is shown first."""
    metrics = sorted(Metric, key=lambda metric: metric is not network.metric)
    kinds: list[tuple[str, tuple[str, ...]]] = [("each", (NODE, *QUANTIZERS))]
    kinds += [(kind, (kind,)) for kind in QUANTIZERS]
    found = [_of_metric(network, metric, *kind) for kind in kinds for metric in metrics]
    found = [c for c in found if any(t is not None for t in c.t)]
    changed = [_change(network)] if network.against else []
    more = [_share(network), _of_words(network, "cause"), _of_words(network, "type")]
    return [*changed, *found, *(c for c in more if any(t is not None for t in c.t))]


_HEADINGS = {"each": "Error of each node and quantizer", "weight": "Error by weights",
             "activation": "Error by activations"}  # fmt: skip


def _of_metric(network: Network, metric: Metric, what: str, kinds: tuple[str, ...]) -> Coloring:
    items = network.items
    values: list[float | None] = [None] * len(items)
    ranked = [i.row is not None and i.type in kinds for i in items]
    source: dict[int, int] = {}
    for k, item in enumerate(items):
        if ranked[k] and item.row is not None:
            values[k] = value_of(item.row, metric)
    for k, item in enumerate(items):
        if item.type == NODE and not ranked[k]:
            own = [q for q in item.quantizers if ranked[q]]
            if own:
                source[k] = max(own, key=lambda q: metric.badness(values[q]))
    for k, q in source.items():
        values[k], ranked[k] = values[q], True
    errors = [None if v is None or math.isnan(v) else metric.error(v) for v in values]
    worst = max((e for e in errors if e is not None and math.isfinite(e)), default=0.0)
    texts = adapted_values([v for v, r in zip(values, ranked, strict=True) if r], metric)
    told = iter(texts.texts)
    t = [
        None if not known else -1.0 if error is None else round(shade(error, worst), 4)
        for error, known in zip(errors, ranked, strict=True)
    ]
    note = "each quantized alone; a shade for each factor of ten below the worst"
    if source:
        note += "; a node that was not measured as a whole has the worst of its quantizers"
    return Coloring(
        f"{what}:{metric.value}", texts.name, _HEADINGS[what], "error", t,
        [next(told) if known else "" for known in ranked],
        _decades(metric, worst, texts.name), note, source,
    )  # fmt: skip


def _decades(metric: Metric, worst: float, name: str) -> list[tuple[float, str]]:
    """Values at the ends and the decades between them."""
    if not worst:
        return [(0.0, "no error")]
    found = []
    for k in range(DECADES, -1, -1):
        error = worst / 10**k
        if metric.unit == "dB":
            text = f"{-20 * math.log10(error):.1f} dB"
        elif metric is Metric.COSINE_SIMILARITY and not name.startswith("1 - "):
            text = f"{1 - error:.6g}"
        else:
            text = f"{error:.3g}"
        found.append((1 - k / DECADES, f"{text} or better" if k == DECADES else text))
    return found


def shares(network: Network) -> dict[int, float]:
    """Each item's part of the sum of the squared errors that were measured alone, 0 to 1.

    Of nodes among nodes, of quantizers among quantizers. A node that was not ranked has the sum of
    its quantizers'. Errors that cancel or add up together are no part of it.
    """
    found: dict[int, float] = {}
    for kinds in ((NODE,), QUANTIZERS):
        errors = {
            k: item.row["mse"]
            for k, item in enumerate(network.items)
            if item.type in kinds and item.row is not None and item.row["mse"] is not None
        }
        total = sum(errors.values())
        if total and math.isfinite(total):
            found |= {k: e / total for k, e in errors.items()}
    for k, item in enumerate(network.items):
        own = [found[q] for q in item.quantizers if q in found]
        if item.type == NODE and item.row is None and own:
            found[k] = sum(own)
    return found


def _share(network: Network) -> Coloring:
    of = shares(network)
    most = max(of.values(), default=0.0) or 1.0
    return Coloring(
        "share", "share of the summed mse", "More", "error",
        [round(of[k] / most, 4) if k in of else None for k in range(len(network.items))],
        [f"{100 * of[k]:.3g} %" if k in of else "" for k in range(len(network.items))],
        [(x, f"{100 * x * most:.3g} %") for x in (0.0, 0.5, 1.0)],
        "part of the sum of the squared errors measured alone; what errors do together is left out",
    )  # fmt: skip


def _change(network: Network) -> Coloring:
    metric, items = network.metric, network.items
    drops = [i.drop for i in items]
    finite = [abs(d) for d in drops if d is not None and math.isfinite(d)]
    most = max(finite, default=0.0) or 1.0
    unit = f" {metric.unit}" if metric.unit else ""
    t = [
        None if d is None or math.isnan(d) else round(0.5 + max(-1.0, min(1.0, d / most)) / 2, 4)
        for d in drops
    ]
    ends = ((0.0, f"better by {most:.3g}{unit}"), (0.5, "as before"))
    return Coloring(
        "change", f"change of {metric}", "Change", "change", t, [i.change for i in items],
        [*ends, (1.0, f"worse by {most:.3g}{unit}")], f"against run {network.against}",
    )  # fmt: skip


def _of_words(network: Network, what: str) -> Coloring:
    words: Callable[[Item], str] = (
        (lambda i: i.cause) if what == "cause" else (lambda i: ", ".join(i.qtypes))
    )
    texts = [words(item) for item in network.items]
    names = sorted({*texts} - {""}, key=lambda name: (-texts.count(name), name))
    places = {name: min(k, len(CATEGORIES) - 1) for k, name in enumerate(names)}
    legend = [(float(k), name) for k, name in enumerate(names[: len(CATEGORIES)])]
    if len(names) > len(CATEGORIES):
        legend[-1] = (float(len(CATEGORIES) - 1), "others")
    label = "cause of the error" if what == "cause" else "numeric type"
    note = "of the nodes that were diagnosed" if what == "cause" else "of quantizers"
    t = [float(places[text]) if text else None for text in texts]
    return Coloring(what, label, "More", "category", t, texts, legend, note)


def by_badness(network: Network) -> Iterator[int]:
    """Positions of what was ranked, the worst first."""

    def badness(k: int) -> float:
        row = network.items[k].row
        return -math.inf if row is None else network.metric.badness(row[network.metric.column])

    ranked: Sequence[int] = [k for k, item in enumerate(network.items) if item.row is not None]
    yield from sorted(ranked, key=lambda k: (-badness(k), k))
