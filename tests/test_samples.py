"""Sensitive samples against the rebuild reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hmct_track.debug as dbg
from benchmarks import rebuild
from hmct_track import demo
from hmct_track.errors import UsageError
from hmct_track.model import load_model
from tests.support.real import real_model


@pytest.mark.parametrize("name", ["demo", "docorient", "ocr-cls"])
def test_samples_rank_as_those_of_the_rebuilt_model(name: str, tmp_path: Path) -> None:
    real = real_model(name)
    every = [node.name for node in load_model(real.calibrated).calibration_nodes]
    expected = [
        rebuild.sensitivity(real.calibrated, [sample], {"all": every})["all"]["sqnr"]
        for sample in real.samples
    ]
    result = dbg.select_sensitive_samples(
        real.calibrated,
        {key: [s[key] for s in real.samples] for key in real.samples[0]},
        metric="sqnr",
        sample_num=2,
        save_dir=tmp_path / "out",
        lake=tmp_path / "lake",
        track=False,
    )
    saved_as = {path.suffix: path.read_bytes() for path in result.files if path.is_file()}
    assert saved_as[".png"].startswith(b"\x89PNG") and b"<svg" in saved_as[".svg"]
    order = sorted(range(len(expected)), key=expected.__getitem__)
    assert [row["sample"] for row in result.rows] == order
    assert [row["value"] for row in result.rows] == pytest.approx(sorted(expected), rel=0.01)
    for place, k in enumerate(order[:2]):
        for key, array in real.samples[k].items():
            saved = np.load(tmp_path / "out" / "calibration_data" / key / f"{place}.npy")
            np.testing.assert_array_equal(saved, array)


def test_the_worst_samples_are_data_for_other_functions(tmp_path: Path) -> None:
    result = dbg.select_sensitive_samples(
        demo.model_path(), demo.calibration_data_path(), sample_num=3, lake=tmp_path, track=False
    )
    assert len(result.rows) == 64
    assert result.rows[0]["source"].endswith(f"{result.rows[0]['sample']}.npy")
    ranking = dbg.get_sensitivity_of_nodes(
        demo.model_path(), calibrated_data=result.data, data_num=3, lake=tmp_path, track=False
    )
    assert len(ranking) == 22
    (figure,) = result.figures.values()
    worst_file = Path(result.rows[0]["source"]).name
    assert figure.axes[1].get_yticklabels()[0].get_text() == f"{worst_file}  1"
    worst = min(row["value"] for row in result.rows)
    assert result.rows[0]["value"] == worst < result.rows[-1]["value"]


@pytest.mark.parametrize("sample_num", [0, 65, True])
def test_a_number_out_of_range_writes_nothing(sample_num: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"sample_num is {sample_num}; there are 1 to 64 samples"):
        dbg.select_sensitive_samples(
            demo.model_path(),
            demo.calibration_data_path(),
            sample_num=sample_num,
            lake=tmp_path / "lake",
        )
    assert not (tmp_path / "lake").exists()
