"""A run in sentences, each with its number: how bad, which nodes, why, what mends it, the cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hmct_track.report.graph_page import libraries
from hmct_track.report.network import NODE, QUANTIZERS, Network
from hmct_track.report.shades import by_badness, colorings, shares
from hmct_track.report.tables import adapted_values
from hmct_track.text import visible
from hmct_track.types import Metric

_FIRST, _WORDS = 5, 3
"""Nodes whose share is told, and nodes whose diagnosis is."""
_PLURALS = {NODE: "nodes", "weight": "weights", "activation": "activations"}


def sentences(
    network: Network,
    whole: str = "",
    steps: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """What is asked, and the answer; of what was not measured nothing is said.

    Args:
        network: with what was measured.
        whole: the fully quantized model in a line.
        steps: rows of the query ``partial_quantization``, by the metric of ``network``.
        scores: lines about scores of the fully quantized model.
    """
    found = [("How bad is it?", line) for line in (*scores, whole) if line]
    found += [("Which nodes?", text) for text in _which(network)]
    judged = " (values of every second sample, which judge)" if network.judges > 1 else ""
    found += [(f"Why?{judged}", wrong) for _, wrong, _ in network.words[:_WORDS]]
    found += [
        (f"What mends it?{judged}", f"{subject}: {mends}")
        for subject, _, mends in network.words[:_WORDS]
    ]
    found += [("What does it cost?", text) for text in (*_left_out(steps, network.metric),
                                                        *network.planned)]  # fmt: skip
    return [(asked, visible(text)) for asked, text in found]


def provenance(network: Network, model: str) -> dict[str, str]:
    """Where a page is from; no path is in it.

    Args:
        network: what it shows.
        model: the model's name for people.
    """
    run = network.run
    found = {
        "model": model,
        "model id": network.model_id,
        "samples": f"{run['data_num']}, id {run['data_id']}",
        "run": f"{run['run_id']} ({run['kind']})",
        "measured with": network.made_with,
    }
    shown = dict[str, list[str]]()
    for what, run_id in network.used:
        shown.setdefault(what, []).append(run_id)
    found |= {what: ", ".join(runs) for what, runs in shown.items()}
    return found | {
        "to repeat": f"hmct-debugger repeat {run['run_id']}",
        "drawn with": ", ".join(f"{x['package']} {x['version']} ({x['license']})"
                                for x in libraries()),
    }  # fmt: skip


def _which(network: Network) -> Iterator[str]:
    """The worst of each kind, and how much the worst few have of the error."""
    items, metric = network.items, network.metric
    way = next((w for w in colorings(network) if w.id == f"each:{metric.value}"), None)
    if way is None:
        return
    order, of = list(by_badness(network)), shares(network)
    unit = f" {metric.unit}" if metric.unit else ""
    for kind in (NODE, *QUANTIZERS):
        own = [k for k in order if items[k].type == kind]
        if own:
            # Such a mean can be worse than the whole model's, in which fewer are exact.
            part = (items[own[0]].row or {}).get("infinite")
            told = ", a mean without the samples and outputs that stay exact" if part else ""
            yield (
                f"{items[own[0]].name} is the worst of {len(own)} {_PLURALS[kind]}: {way.label} "
                f"{way.texts[own[0]]}{unit} when it alone is quantized{told}"
            )
    for kinds in ((NODE,), QUANTIZERS):
        ranked = [k for k in of if items[k].type in kinds and items[k].row is not None]
        most = sorted(ranked, key=lambda k: -of[k])[:_FIRST]
        if len(ranked) > _FIRST and any(of[k] > 0 for k in most):
            had = {items[r].type for r in ranked}
            names = " and ".join(_PLURALS[k] for k in kinds if k in had)
            yield (
                f"{100 * sum(of[k] for k in most):.3g} % of the squared error that the "
                f"{len(ranked)} {names} have one at a time is of {_FIRST} of them: "
                + ", ".join(items[k].name for k in most)
            )
            return


def _left_out(steps: Sequence[Mapping[str, Any]], metric: Metric) -> Iterator[str]:
    """What leaving nodes unquantized brings."""
    if len(steps) < 2:
        return
    best = min(range(len(steps)), key=lambda k: metric.badness(steps[k]["partial"]))
    told = adapted_values([steps[0]["partial"], steps[best]["partial"]], metric)
    unit = f" {metric.unit}" if metric.unit else ""
    if best == 0:
        yield f"leaving out {len(steps) - 1} of the worst nodes one after the other mends nothing"
    else:
        yield (
            f"with {best} nodes left unquantized {told.name} goes from {told.texts[0]}{unit} to "
            f"{told.texts[1]}{unit}"
        )
