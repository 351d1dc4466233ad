"""What the plotting commands refuse: one line on stderr, status 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.here import run_here


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot-acc-error"], "give either quantize_node or non_quantize_node; neither was given"),
        (["plot-acc-error", "-q", "[Conv_2]", "-nq", "[Conv_4]"], "both were given"),
        (["plot-acc-error", "-nq", "[weight]"], "non_quantize_node cannot have 'weight'"),
        (["plot-acc-error", "-q", "[Conv_222]"], "no node named 'Conv_222'; closest names: Conv_2"),
        (["plot-distribution", "-n", "[Conf_2]"], "closest names: Conv_2"),
        (["get-channelwise-data-distribution", "-n", "[Conv_2]"], "is not a calibration node"),
        (
            ["get-channelwise-data-distribution", "-n", "301_HzCalibration", "-a", "7"],
            "axis 7 is beyond the data of '301_HzCalibration'",
        ),
        (["sensitivity-analysis", "-sn", "[Conv_2,Conv_x]"], "no node named 'Conv_x'"),
        (["sensitivity-analysis", "-q", "int3"], "choose from float32, int16, float16"),
        (["sensitivity-analysis", "-d", "65"], "data_num is 65; there are 1 to 64 samples"),
        (["select-sensitive-samples", "-sn", "0"], "sample_num is 0; there are 1 to 64 samples"),
        (["runall", "-dn", "0"], "data_num is 0; there are 1 to 64 samples"),
        (["runall", "-nt", "nodes"], "node_type 'nodes' is not known; choose from node, weight"),
        (["runall", "-dnl", "[Conv_2,nothing]"], "no node named 'nothing'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    demo_files: tuple[str, str],
    tmp_path: Path,
) -> None:
    command, *options = arguments
    done = run_here(tmp_path, command, *demo_files, *options, "--no-track")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
