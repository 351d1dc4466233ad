"""Whether rankings are as sure as they say, on real networks: coverage of intervals, and races.

Every node is measured on 64 samples once, which takes a few minutes and is kept in a folder; all
else is resampling of these values, without running a model::

    python -m benchmarks.confidence FOLDER [NETWORK ...] [--metrics sqnr] [--races 16 64]

- Coverage: of samples drawn with replacement from the 64, how often a node's interval holds the
  mean of the 64, by the number that was drawn; the mean over the nodes that have an error.
- Races: for random orders of 16 and of all 64 samples, how often the top ten that a race ends with
  is that of all samples, and the share of the executions that it needed. The orders of 16 are of
  other samples each. With ``--races`` only these.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmct_track import demo
from hmct_track.confidence import mean_intervals, means_of
from hmct_track.confidence.racing import next_count, stand
from hmct_track.types import Metric

NETWORKS = ("demo", "ocr-cls", "docorient", "pp-lcnet", "ocr-rec")
METRICS = (Metric.SQNR, Metric.MSE, Metric.COSINE_SIMILARITY)
SAMPLES = 64
TOP = 10
ORDERS = 200
LEVEL = 0.95

Values = np.ndarray
"""Nodes by outputs by samples."""


def measured(network: str, folder: Path) -> dict[Metric, Values]:
    """The metrics of each node alone on each sample; measured if the folder lacks them."""
    path = folder / f"{network}.npz"
    if not path.exists():
        np.savez(path, **{m.value: v for m, v in measure(network).items()})
    found = np.load(path)
    return {metric: found[metric.value] for metric in METRICS}


def measure(network: str) -> dict[Metric, Values]:
    """The same, measured."""
    from hmct_track.analyses.configurations import alone, names_of_type
    from hmct_track.engine import Engine
    from hmct_track.model import load_model
    from hmct_track.types import NodeType

    proto, samples = network_and_samples(network)
    model = load_model(proto)
    engine = Engine(model)
    outputs = engine.output_tensors([spec.name for spec in model.outputs])
    configs = [p.config for p in alone(model, names_of_type(model, NodeType.NODE))]
    place = {config.config_id: k for k, config in enumerate(configs)}
    shape = len(configs), len(outputs), len(samples)
    values = {metric: np.full(shape, np.nan) for metric in METRICS}
    inputs = {str(k): sample for k, sample in enumerate(samples)}
    for found in engine.evaluate(configs, inputs, outputs):
        at = place[found.config_id], outputs.index(found.output), int(found.sample_id)
        s = found.statistics
        exact = s.sum_dd == 0
        norm = max(s.sum_xx**0.5, 1e-8) * max(s.sum_yy**0.5, 1e-8)
        values[Metric.COSINE_SIMILARITY][at] = 1.0 if exact else s.sum_xy / norm
        values[Metric.MSE][at] = s.sum_dd / s.count
        values[Metric.SQNR][at] = np.inf if exact else 10 * np.log10(s.sum_xx / s.sum_dd)
    return values


def network_and_samples(network: str) -> tuple[Any, list[dict[str, np.ndarray]]]:
    """A calibrated network, and samples other than few it was calibrated on."""
    if network == "demo":
        files = sorted(demo.calibration_data_path().glob("input/*.npy"))[:SAMPLES]
        return demo.model_path(), [{"input": np.load(file)} for file in files]
    from tests.support import real

    calibrated = real.real_model(network)
    ((name, first),) = calibrated.samples[0].items()
    scale = real._IMAGENET if network in ("docorient", "pp-lcnet") else real._HALF
    mean, std = (np.array(part) for part in scale)
    pieces = real._patches(first.shape[2], first.shape[3], SAMPLES)
    scaled = [((piece - mean) / std).transpose(2, 0, 1)[None] for piece in pieces]
    return calibrated.calibrated, [
        {name: np.ascontiguousarray(piece, dtype=np.float32)} for piece in scaled
    ]


def coverage(values: Values, metric: Metric, count: int) -> float:
    """How often intervals of so many samples hold the mean of all."""
    random = np.random.default_rng(0)
    finite = np.isfinite(values).all(axis=(1, 2)) & (values.std(axis=2) > 0).any(axis=1)
    values = values[finite]
    true = means_of(values, metric).values
    hits = []
    for _ in range(ORDERS):
        drawn = values[:, :, random.integers(0, values.shape[2], count)]
        found = mean_intervals(means_of(drawn, metric), metric, LEVEL)
        hits.append((found.low <= true) & (true <= found.high))
    return float(np.mean(hits)) if len(values) else float("nan")


def races(values: Values, metric: Metric, count: int) -> Iterator[tuple[bool, int, float]]:
    """Of random orders: whether the top is right, how much of it, and the share of executions."""
    random = np.random.default_rng(1)
    for _ in range(ORDERS):
        drawn = values[:, :, random.permutation(values.shape[2])[:count]]
        badness = np.array([metric.badness(v) for v in means_of(drawn, metric).values])
        expected = set(np.argsort(-badness, kind="stable")[:TOP].tolist())
        found, share = race(drawn, metric)
        yield found == expected, len(found & expected), share


def race(values: Values, metric: Metric) -> tuple[set[int], float]:
    """The top of a race, and the share of the executions that it took."""
    nodes, _, samples = values.shape
    counts = np.ones(nodes, dtype=np.int64)
    while True:
        known = np.arange(samples) < counts[:, None]
        standing = stand(np.where(known[:, None], values, np.nan), known, metric, TOP, LEVEL)
        if standing.is_settled:
            return set(standing.order[:TOP].tolist()), counts.sum() / (nodes * samples)
        goal = next_count(counts, standing.open, samples)
        counts[standing.open & (counts < goal)] = goal


def main() -> None:
    """Print two tables, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where measurements are kept")
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--metrics", nargs="+", type=Metric, default=list(METRICS))
    parser.add_argument("--races", nargs="+", type=int, metavar="SAMPLES", help="only races")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.races is None:
        print_coverage(args.networks, args.metrics, args.folder)
    print("\n| network | nodes | metric | samples | same top ten | in common | executions | most |")
    print("|---|---|---|---|---|---|---|---|")
    for count in args.races or (16, SAMPLES):
        for network in args.networks:
            every = measured(network, args.folder)
            for metric in args.metrics:
                values = every[metric]
                right, common, share = np.array(list(races(values, metric, count))).T
                print(
                    f"| {network} | {len(values)} | {metric} | {count} | {100 * right.mean():.1f} %"
                    f" | {common.mean():.2f} | {100 * share.mean():.1f} % |"
                    f" {100 * share.max():.1f} % |",
                    flush=True,
                )


def print_coverage(networks: Sequence[str], metrics: Sequence[Metric], folder: Path) -> None:
    """The first table."""
    print("| network | metric | coverage of 8 | of 16 | of 32 |\n|---|---|---|---|---|")
    for network in networks:
        every = measured(network, folder)
        for metric in metrics:
            shown = [f"{coverage(every[metric], metric, n):.3f}" for n in (8, 16, 32)]
            print(f"| {network} | {metric} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
