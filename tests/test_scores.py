"""Scores of the user's own: measured with the metrics, kept, ranked by, and complained about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

import hmct_track
import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track import demo
from hmct_track.analyses.plan_session import split
from hmct_track.analyses.scored import losing, lost_by_sample
from hmct_track.confidence import paired_difference, wilson
from hmct_track.errors import EngineError, UsageError
from hmct_track.lake import Lake
from hmct_track.model import load_model
from hmct_track.scoring import load_scores, read_labels

COUNT = 40
IMAGES, LABELS = (array[280 : 280 + COUNT] for array in demo.heldout())
"""Digits among which the calibrated model has some wrong."""
DATA = {"input": [image[None] for image in IMAGES]}
MODEL = str(demo.model_path())

SOURCE = '''
import numpy as np

def distance(outputs, label):
    """How unlikely the label is: lower is better."""
    logits = outputs["logits"][0].astype(float)
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])

distance.higher_is_better = False

class Balanced:
    """Mean over classes of the share of their samples that is right."""

    def sample(self, outputs, label):
        return [int(outputs["logits"].argmax()), int(label)]

    def total(self, parts):
        found, wanted = np.array(parts).T
        return float(np.mean([np.mean(found[wanted == c] == c) for c in set(wanted)]))

def fails(outputs, label):
    if label == 3:
        raise KeyError("no threes")
    return 1.0

def nothing(outputs):
    return float("nan")
'''


@pytest.fixture(scope="module")
def logits() -> dict[str, Any]:
    """Float, whole and alone: what a model rebuilt for each gives."""
    proto, loaded = onnx.load(MODEL), load_model(MODEL)
    nodes = rebuild.feeding(proto)
    asked = {"float": [], "whole": [n.name for n in loaded.calibration_nodes], **nodes}
    return {
        name: rebuild.run(rebuild.build(proto, on), [{"input": IMAGES}], ["logits"])[0][0]
        for name, on in asked.items()
    }


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    lake = tmp_path_factory.mktemp("scores")
    (lake / "own.py").write_text(SOURCE)
    scores = ["top1", f"{lake / 'own.py'}:Balanced", f"{lake / 'own.py'}:distance", "same-top1"]
    found = dbg.get_sensitivity_of_nodes(
        MODEL, ["sqnr"], DATA, data_num=None, score=scores, labels=LABELS, lake=lake, track=False
    )
    return found, lake


def test_scores_are_those_of_rebuilt_models_and_rank_with_ties_by_the_metric(
    ranked: tuple[Any, Path], logits: dict[str, Any]
) -> None:
    found, _ = ranked
    rights = {name: values.argmax(1) == LABELS for name, values in logits.items()}
    for node, values in found.items():
        assert values["top1"] == pytest.approx(rights[node].mean())
        same = logits[node].argmax(1) == logits["float"].argmax(1)
        assert values["same-top1"] == pytest.approx(same.mean())
        each = [rights[node][c == LABELS].mean() for c in set(LABELS.tolist())]
        assert values["Balanced"] == pytest.approx(np.mean(each))
        shifted = logits[node] - logits[node].max(1, keepdims=True)
        likely = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(COUNT), LABELS]
        assert values["distance"] == pytest.approx(likely.mean(), rel=1e-3, abs=1e-5)
    keys = [(v["top1"], v["sqnr"]) for v in found.values()]
    assert keys == sorted(keys)
    assert len({top1 for top1, _ in keys}) < len(keys), "there are ties"


def test_the_whole_model_is_told_with_an_interval_that_fits_proportions(
    ranked: tuple[Any, Path], logits: dict[str, Any]
) -> None:
    found, lake = ranked
    rows = Lake.open(lake).query("score_results", run_id=found.run_id)
    (row,) = [r for r in rows if r["role"] == "reference" and r["score"] == "top1"]
    right = {name: (logits[name].argmax(1) == LABELS) for name in ("float", "whole")}
    assert (row["value"], row["float_value"]) == pytest.approx(
        (right["whole"].mean(), right["float"].mean())
    )
    assert row["worse"] == np.sum(right["float"] & ~right["whole"]) > 0
    oracle = binomtest(int(right["whole"].sum()), COUNT).proportion_ci(0.95, method="wilson")
    assert (row["value_low"], row["value_high"]) == pytest.approx((oracle.low, oracle.high))
    text = found.result.answer.analysis.text(found.result.answer)
    assert text.startswith(f"all nodes quantized: top1 {row['value']:.3g}")
    assert "those of one value are ordered by sqnr" in text


def test_what_is_known_is_not_scored_again_and_changed_labels_are(
    ranked: tuple[Any, Path],
) -> None:
    found, lake = ranked
    given: dict[str, Any] = {"data_num": None, "lake": lake, "track": False, "score": "top1"}
    others = np.where(np.arange(COUNT) == 0, (LABELS + 1) % 10, LABELS)
    changed = dbg.get_sensitivity_of_nodes(MODEL, ["sqnr"], DATA, labels=others, **given)
    # The order of data and labels changes together: each sample keeps its own label.
    turned = {"input": DATA["input"][::-1]}
    again = dbg.get_sensitivity_of_nodes(MODEL, ["sqnr"], turned, labels=LABELS[::-1], **given)
    rows = Lake.open(lake).sql("SELECT run_id, sample_id FROM scores").rows
    scored = [(run, sample) for run, sample in rows]
    assert len({sample for run, sample in scored if run == changed.run_id}) == 1
    assert again.run_id not in {run for run, _ in scored}
    assert {n: v["top1"] for n, v in again.items()} == pytest.approx(
        {n: v["top1"] for n, v in found.items()}
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", r"'fails' failed on the sample .* on the float outputs: KeyError: 'no threes'"),
        ("nothing", r"'nothing' failed on the sample .*: it gave nan"),
    ],
)
def test_a_score_that_fails_says_where_and_loses_no_measurement(
    name: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(SOURCE)
    given: dict[str, Any] = {"data_num": None, "lake": tmp_path / "lake", "track": False}
    labels = np.zeros(COUNT, int)
    labels[-1] = 3
    with pytest.raises(EngineError, match=said):
        dbg.get_sensitivity_of_nodes(
            MODEL,
            calibrated_data=DATA,
            score=f"{tmp_path / 'own.py'}:{name}",
            labels=labels,
            **given,
        )
    lake = Lake.open(tmp_path / "lake")
    assert lake.sql("SELECT config_id FROM measurements").rows


def test_flips_name_the_nodes_that_alone_change_a_sample(
    logits: dict[str, Any], tmp_path: Path
) -> None:
    result = dbg.select_sensitive_samples(
        MODEL, DATA, score="top1", labels=LABELS, lake=tmp_path, track=False
    )
    right = {name: values.argmax(1) == LABELS for name, values in logits.items()}
    flips = result.answer.lake.query("score_flips", run_id=result.run_id)
    for row in flips:
        k = row["sample"]
        assert row["changed"] == (right["whole"][k] != right["float"][k])
        nodes = [n for n in rebuild.feeding(onnx.load(MODEL)) if right[n][k] != right["float"][k]]
        assert (row["nodes"] or []) == (nodes if row["changed"] else [])
    first = result.rows[0]["sample"]
    assert right["float"][first] and not right["whole"][first]


def test_partial_quantization_leaves_out_what_loses_the_score(tmp_path: Path) -> None:
    result = dbg.sensitivity_analysis(
        MODEL, DATA, data_num=None, score="top1", labels=LABELS, lake=tmp_path, track=False
    )
    rows = result.answer.lake.query("score_results", run_id=result.run_id)
    losing = {r["subject"] for r in rows if r["role"] == "only" and r["lost"] > 0}
    assert losing == {row["node"] for row in result.rows[1:]} != set()
    steps = [r["value"] for r in rows if r["role"] == "partial"]
    assert len(steps) == len(losing) + 1
    assert steps[-1] > steps[0]


def test_paired_intervals_are_those_that_are_published() -> None:
    """GIVEN the first example of Newcombe 1998, table II, method 10: 36, 12, 2 and 0 pairs."""
    before = np.repeat([1.0, 1.0, 0.0], [36, 12, 2])
    after = np.repeat([1.0, 0.0, 1.0], [36, 12, 2])
    assert paired_difference(before, after, 0.95) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    oracle = binomtest(0, 7).proportion_ci(0.9, method="wilson")
    assert wilson(0, 7, 0.9) == pytest.approx((oracle.low, oracle.high))


PLACES = ["data/x/0.npy", "data/x/1.npy"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "label\n7\n2\n", [7, 2]),
        ("a.csv", "sample,label\n1,cat\n0.npy,dog\n", ["dog", "cat"]),
        ("a.csv", "sample,x,y\n0,1,2.5\n1,3,4\n", [{"x": 1, "y": 2.5}, {"x": 3, "y": 4}]),
    ],
)
def test_labels_of_tables(name: str, content: str, expected: list[Any], tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert read_labels(tmp_path / name, PLACES) == expected


def test_labels_of_folders_and_archives(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.arange(3))
    (tmp_path / "1.json").write_text(json.dumps({"boxes": [[1, 2]]}))
    first, second = read_labels(tmp_path, PLACES)
    assert first.tolist() == [0, 1, 2]
    assert second == {"boxes": [[1, 2]]}
    np.savez(tmp_path / "order.npz", labels=[4, 5, 6])
    assert read_labels(tmp_path / "order.npz", PLACES) == [4, 5]
    np.savez(tmp_path / "named.npz", **{"1": [1], "0": [0]})
    assert [int(a[0]) for a in read_labels(tmp_path / "named.npz", PLACES)] == [0, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"0": 1}, "no label for the sample 'data/x/1.npy'"),
        ([1], "1 labels for 2 samples"),
        ("absent.csv", "cannot be read"),
        ("absent.txt", "is none; a folder"),
        (7, "labels are a int"),
    ],
)
def test_labels_that_are_none_are_complained_of(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_labels(given, PLACES)
    with pytest.raises(UsageError, match="two samples are called"):
        read_labels({"0": 1}, ["a/0.npy", "b/0.npy"])


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("top2", "give top1, top5, same-top1"),
        ("absent.py:f", "there is no file"),
        ("no.such.module:f", "cannot be imported"),
        ("json:absent", "has no 'absent'"),
        (["top1", "top1"], "twice"),
        ([], "empty"),
        (5, "is a int"),
    ],
)
def test_scores_that_are_none_are_complained_of(score: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_scores(score)


def test_a_file_that_does_not_load_is_complained_of(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(UsageError, match="cannot be loaded: ModuleNotFoundError"):
        load_scores(f"{tmp_path / 'bad.py'}:f")
    (tmp_path / "own.py").write_text(SOURCE)
    before = load_scores(f"{tmp_path / 'own.py'}:distance")[0]
    assert not before.higher_is_better
    (tmp_path / "own.py").write_text(SOURCE + "\n# changed\n")
    assert load_scores(f"{tmp_path / 'own.py'}:distance")[0].content != before.content


def test_a_gate_on_the_score_of_two_models(ranked: tuple[Any, Path], tmp_path: Path) -> None:
    found, lake = ranked
    float_like = rebuild.build(onnx.load(MODEL), [])
    onnx.save(float_like, tmp_path / "float.onnx")
    made = hmct_track.calibrate(
        tmp_path / "float.onnx", DATA, tmp_path / "c.onnx", lake=lake, track=False
    )
    assert made.run_id
    after = dbg.get_sensitivity_of_nodes(
        tmp_path / "c.onnx", ["sqnr"], DATA, data_num=None, score="top1", labels=LABELS, lake=lake,
        track=False,
    )  # fmt: skip
    result = hmct_track.compare(
        found.run_id, after.run_id, fail_if=["score_drop > 0", "score_worse >= 1"], lake=lake
    )
    whole = [
        next(
            r["value"]
            for r in Lake.open(lake).query("score_results", run_id=run)
            if r["role"] == "reference" and r["score"] == "top1"
        )
        for run in (found.run_id, after.run_id)
    ]
    assert result.comparison.sure["score_drop"] == pytest.approx(whole[0] - whole[1])
    assert result.comparison.sure["score_drop"] < 0, "per channel it is better"
    assert result.failed == (("score_worse >= 1",) if result.comparison.sure["score_worse"] else ())
    plain = dbg.get_sensitivity_of_nodes(
        MODEL, ["sqnr"], DATA, data_num=None, lake=lake, track=False
    )
    with pytest.raises(UsageError, match="rank both models with --score"):
        hmct_track.compare(plain.run_id, after.run_id, fail_if="score_drop > 0", lake=lake)


def test_a_plan_keeps_what_may_be_lost_of_a_score(tmp_path: Path) -> None:
    given: dict[str, Any] = {"score": "top1", "labels": LABELS, "lake": tmp_path, "track": False}
    found = hmct_track.plan(
        MODEL, DATA, "top1 drop <= 2.5 %", confidence=0.5, held_out_share=0, **given
    )
    rows = found.answer.lake.query("score_results", run_id=found.run_id)
    chosen = found.config.config_id
    losses = {r["config_id"]: r["lost"] for r in rows}
    assert found.summary["value"] == pytest.approx(losses[chosen])
    assert losses[chosen] <= 0.025 < found.summary["calibrated"]
    # With a margin, 40 samples cannot show that so little is lost: Wilson's bound of 0 of 40.
    with pytest.raises(UsageError, match="not reachable"):
        hmct_track.plan(MODEL, DATA, "top1 drop <= 1 %", held_out_share=0, **given)
    for target, said in (("top1 >= 0.9", "write what may be lost"), ("top5 drop <= 1 %", "top5")):
        with pytest.raises(UsageError, match=said):
            hmct_track.plan(MODEL, DATA, target, **given)


def test_a_plan_by_a_class_is_verified_on_samples_that_chose_nothing(
    ranked: tuple[Any, Path], logits: dict[str, Any], tmp_path: Path
) -> None:
    """GIVEN a lake that knows all samples of the calibrated model already
    THEN scores of those that choose, and of those held out, are told apart.
    """
    _, lake = ranked
    score = f"{lake / 'own.py'}:Balanced"
    given: dict[str, Any] = {"labels": LABELS, "lake": lake, "track": False, "confidence": 0.5}
    found = hmct_track.plan(
        MODEL, DATA, "Balanced drop <= 3 %", score=[score, "top1"], save_dir=tmp_path, **given
    )
    places, held = split(COUNT, 0.25)
    right = {name: logits[name].argmax(1) == LABELS for name in ("float", "whole")}

    def balanced(name: str, of: list[int]) -> float:
        own = LABELS[of]
        return float(np.mean([right[name][of][own == c].mean() for c in set(own.tolist())]))

    rows = found.answer.lake.query("score_results", run_id=found.run_id)
    calibrated = {
        (r["role"] == "held-out", r["score"]): (r["samples"], r["value"], r["lost"])
        for r in rows
        if r["subject"] == "calibrated" or r["role"] == "reference"
    }
    for is_held, of in ((True, held), (False, places)):
        value, lost = balanced("whole", of), balanced("float", of) - balanced("whole", of)
        assert calibrated[is_held, "Balanced"] == pytest.approx((len(of), value, lost))
        value, lost = right["whole"][of].mean(), right["float"][of].mean()
        assert calibrated[is_held, "top1"][1:] == pytest.approx((value, lost - value))
    assert found.summary["calibrated"] == pytest.approx(calibrated[False, "Balanced"][2])
    (plan,) = [r for r in rows if r["subject"] == "plan" and r["score"] == "Balanced"]
    assert plan["lost"] == pytest.approx(found.summary["held_out_value"])
    assert found.summary["value"] <= 0.03 < found.summary["calibrated"]
    text = (tmp_path / "plan.log").read_text()
    assert f"the plan on {len(held)} samples held out: Balanced {plan['value']:.3g}" in text
    header = next(line for line in text.splitlines() if line.startswith("step"))
    assert header.split("  ")[-3:] == ["Balanced drop", "top1 lost", "sqnr"]
    x, y = logits["float"][places].astype(float), logits["whole"][places]
    sqnr = (20 * np.log10(np.linalg.norm(x, axis=1) / np.linalg.norm(x - y, axis=1))).mean()
    first = next(line.split() for line in text.splitlines() if line.startswith("1     0 "))
    assert float(first[-2]) == pytest.approx(sqnr, abs=1e-2)
    assert (tmp_path / "plan_frontier.png").read_bytes().startswith(b"\x89PNG")


def test_the_share_of_a_sample_in_a_class_is_that_of_the_jackknife() -> None:
    class Right:
        def sample(self, outputs: Any, label: Any) -> int:
            return 0

        def total(self, parts: list[int]) -> float:
            return float(np.mean(parts))

    (scorer,) = load_scores(Right)
    rng = np.random.default_rng(3)
    before = rng.integers(0, 2, 200)
    after = np.where(rng.random(200) < 0.1, 1 - before, before)
    rows: Any = [
        {"value": None, "part": str(y), "float_part": str(x), "subject": "node"}
        for x, y in zip(before, after, strict=True)
    ]
    # The jackknife of a mean is the mean's own: each sample gives what it loses.
    few = lost_by_sample(scorer, rows[:50])
    np.testing.assert_allclose(few, (before - after)[:50], atol=1e-12)
    # Of groups, mean and spread are the same, the latter as far as fifty groups tell it.
    many = lost_by_sample(scorer, rows)
    assert many.mean() == pytest.approx(np.mean(before - after))
    assert many.std() == pytest.approx(np.std(before - after), rel=0.3)
    assert losing(scorer, rows) == np.sum(before != after)


@pytest.mark.slow
def test_diagnose_mend_and_runall_tell_the_scores_of_rebuilt_models(
    ranked: tuple[Any, Path], logits: dict[str, Any], tmp_path: Path
) -> None:
    _, lake = ranked
    given: dict[str, Any] = {"labels": LABELS, "lake": lake, "track": False, "score": "top1"}
    wrong = {name: values.argmax(1) != LABELS for name, values in logits.items()}
    whole = f"top1 {1 - wrong['whole'].mean():.3g}"

    worst = max(logits.keys() - {"float", "whole"}, key=lambda name: wrong[name].sum())
    told = hmct_track.diagnose(MODEL, DATA, nodes=[worst], **given).answer
    text = told.analysis.text(told)
    assert text.startswith(f"all nodes quantized: {whole}")
    worse = np.sum(wrong[worst] & ~wrong["float"])
    better = np.sum(wrong["float"] & ~wrong[worst])
    lost = wrong[worst].mean() - wrong["float"].mean()
    assert lost > 0
    assert f"top1 lost {lost:.3g} ({worse} of {COUNT} samples worse, {better} better)" in text

    found = hmct_track.mend(MODEL, DATA, allow=["per-channel"], **given)
    assert found.model is not None
    mended = rebuild.build(found.model, [n.name for n in load_model(found.model).calibration_nodes])
    after = rebuild.run(mended, [{"input": IMAGES}], ["logits"])[0][0]
    held = slice(3, None, 4)
    rows = found.answer.lake.query("score_results", run_id=found.run_id)
    values = {row["role"]: (row["samples"], row["value"]) for row in rows}
    assert values == {
        "reference": (COUNT // 4, pytest.approx(1 - wrong["whole"][held].mean())),
        "mended": (COUNT // 4, pytest.approx(np.mean((after.argmax(1) == LABELS)[held]))),
    }
    assert f"before on {COUNT // 4} held-out samples: top1" in found.answer.analysis.text(
        found.answer
    )

    few: dict[str, Any] = {"node_type": "node", "interested_nodes": worst, "quantize_node": [worst]}
    few |= {"sensitive_nodes": worst, "save_dir": tmp_path}
    everything = dbg.runall(MODEL, DATA, **few, **given)
    assert f"all nodes quantized: {whole}" in (tmp_path / "index.html").read_text()
    summary = everything.answer.analysis.run_summary(everything.answer)
    assert summary["whole.top1.lost"] == pytest.approx(
        wrong["whole"].mean() - wrong["float"].mean()
    )


def documented_scores() -> list[str]:
    """The Python blocks of docs/scores.md that define a score."""
    page = (Path(__file__).parent.parent / "docs" / "scores.md").read_text("utf-8")
    blocks = [part.split("\n```")[0] for part in page.split("```python\n")[1:]]
    assert [block.count("def ") for block in blocks] == [1, 2, 2, 2]
    return blocks


@pytest.mark.parametrize("needs", [None, "sklearn", "torchmetrics"])
def test_the_scores_of_the_page_do_what_it_says(needs: str | None, tmp_path: Path) -> None:
    """The page's own text is run; the last of its scores only where torchmetrics is installed."""
    if needs is not None:
        pytest.importorskip(needs)
    function, plain, *others = documented_scores()
    text = {None: function + "\n" + plain, "sklearn": others[0], "torchmetrics": others[1]}[needs]
    (tmp_path / "page.py").write_text(text)
    rng = np.random.default_rng(5)
    logits, labels = rng.standard_normal((60, 1, 10)), rng.integers(0, 10, 60)
    (scorer,) = load_scores(f"{tmp_path / 'page.py'}:{'MacroF1' if needs is None else 'F1'}")
    parts = [
        json.dumps(scorer.sample({"logits": x}, label))
        for x, label in zip(logits, labels, strict=True)
    ]
    found = scorer.total_of(parts)
    assert found == pytest.approx(f1_score(labels, logits[:, 0].argmax(1), average="macro"))
    if needs is None:
        (distance,) = load_scores(f"{tmp_path / 'page.py'}:distance")
        assert not distance.higher_is_better
        chances = np.exp(logits[0, 0]) / np.exp(logits[0, 0]).sum()
        expected = -np.log(chances[labels[0]])
        assert distance.sample({"logits": logits[0]}, labels[0]) == pytest.approx(expected)
